#include "patterns.h"

#include "base/fail.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1024 * 1024)

int add_patterns(struct pattern_list *list, const struct text_list *texts, const char *option,
    struct dmsg_error *error)
{
    struct dmsg_pattern *items =
        realloc(list->items, (list->count + texts->count + 1) * sizeof *items);
    if (items == NULL)
        return dmsg_fail_memory(error);
    list->items = items;
    for (size_t i = 0; i < texts->count; i++) {
        struct dmsg_error why;
        if (dmsg_pattern_parse(&items[list->count], dmsg_span_text(texts->items[i]), &why) < 0)
            return dmsg_fail(error, DMSG_E_USAGE, "%s '%s': %s", option, texts->items[i], why.text);
        list->count++;
    }
    return 0;
}

static int add_lines(struct pattern_list *list, char *text, struct dmsg_error *error)
{
    char *position;
    for (char *line = strtok_r(text, "\r\n", &position); line != NULL;
         line = strtok_r(NULL, "\r\n", &position)) {
        line[strcspn(line, "#")] = '\0';
        line += strspn(line, " \t");
        size_t size = strlen(line);
        while (size > 0 && strchr(" \t", line[size - 1]) != NULL)
            line[--size] = '\0';
        struct text_list one = {.items = (const char *[]){line}, .count = *line != '\0'};
        int result = add_patterns(list, &one, "--allow-file", error);
        if (result < 0)
            return result;
    }
    return 0;
}

int add_pattern_file(struct pattern_list *list, const char *path, struct dmsg_error *error)
{
    struct dmsg_buffer text = {.limit = FILE_MAX};
    int result = read_input(&text, path, error);
    dmsg_buffer_put_byte(&text, '\0');
    if (result == 0 && text.failed)
        result = dmsg_fail_memory(error);
    if (result == 0 && strlen((const char *)text.data) + 1 != text.size)
        result = dmsg_fail(error, DMSG_E_LOCAL, "%s is no text: there is a NUL in it", path);
    if (result == 0)
        result = add_lines(list, (char *)text.data, error);
    if (result == 0 && list->count == 0)
        result = dmsg_fail(error, DMSG_E_LOCAL, "%s names nobody, so nobody could write", path);
    dmsg_buffer_done(&text);
    return result;
}
