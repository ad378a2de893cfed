#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX (1 << 20)

/* All of a file, with a NUL after it. */
static char *read_all(FILE *file, size_t *size)
{
    char *text = malloc(INPUT_MAX + 1);
    if (file == NULL || text == NULL) {
        free(text);
        return NULL;
    }
    *size = fread(text, 1, INPUT_MAX, file);
    text[*size] = '\0';
    return text;
}

void write_out(const void *data, size_t size)
{
    if (size > 0 && fwrite(data, 1, size, stdout) != size)
        exit(BROKEN);
}

int refuse(const char *reason)
{
    fprintf(stderr, "%s\n", reason != NULL ? reason : "refused");
    return REFUSED;
}

static bool read_command(struct request *out, int argc, char **argv)
{
    static const char *const names[] = {
        [SIGN] = "sign", [VERIFY] = "verify", [ENCRYPT] = "encrypt", [DECRYPT] = "decrypt"};
    static const int words[] = {[SIGN] = 5, [VERIFY] = 4, [ENCRYPT] = 6, [DECRYPT] = 5};
    for (enum command i = SIGN; argc >= 4 && i < COMMANDS; i++) {
        if (strcmp(argv[1], names[i]) != 0 || argc != words[i])
            continue;
        out->command = i;
        out->alg = argv[3];
        out->compact = strcmp(argv[4 < argc ? 4 : 3], "compact") == 0;
        out->enc = i == ENCRYPT ? argv[5] : i == DECRYPT ? argv[4] : NULL;
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    struct request request = {0};
    if (!read_command(&request, argc, argv)) {
        fprintf(stderr, "usage: %s COMMAND JWK ALG [FORM] [ENC], see program.h\n", argv[0]);
        return BROKEN;
    }
    FILE *jwk = fopen(argv[2], "r");
    request.jwk = read_all(jwk, &request.jwk_size);
    request.input = read_all(stdin, &request.input_size);
    int status = request.jwk != NULL && request.input != NULL ? answer(&request) : BROKEN;
    if (jwk != NULL)
        fclose(jwk);
    free(request.jwk);
    free(request.input);
    return fflush(stdout) == 0 ? status : BROKEN;
}
