/* In the place of the PostgreSQL store where libpq was not there when this was built. */
#include "base/fail.h"
#include "danemsg/store.h"

static int refuse(struct dmsg_error *error)
{
    return dmsg_fail(error, DMSG_E_USAGE,
        "this danemsg was built without PostgreSQL: install libpq-dev and build it again, or use "
        "--store sqlite:PATH");
}

int dmsg_store_open_postgresql(struct dmsg_store **out, const struct dmsg_context *context,
    const char *url, const struct dmsg_name *recipient, const char *member,
    struct dmsg_error *error)
{
    (void)out;
    (void)context;
    (void)url;
    (void)recipient;
    (void)member;
    return refuse(error);
}

int dmsg_store_show_postgresql(struct dmsg_store **out, const struct dmsg_context *context,
    const char *url, const struct dmsg_name *recipient, struct dmsg_error *error)
{
    (void)out;
    (void)context;
    (void)url;
    (void)recipient;
    return refuse(error);
}
