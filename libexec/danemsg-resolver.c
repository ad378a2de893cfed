#include "danemsg/resolver.h"

int main(int argc, char **argv)
{
    return dmsg_resolver_main(argc, argv);
}
