#include "gateway/api/console.h"

#include "common/embed.h"

EMBED(console_index, "gateway/api/console/index.html");
EMBED(console_style, "gateway/api/console/console.css");
EMBED(console_script, "gateway/api/console/console.js");

static const struct console_file files[] = {
    {"/", "text/html; charset=utf-8", console_index},
    {"/console.css", "text/css; charset=utf-8", console_style},
    {"/console.js", "text/javascript; charset=utf-8", console_script},
};

const struct console_file *console_find(struct slice path)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (slice_is(path, files[i].path))
            return &files[i];
    return NULL;
}
