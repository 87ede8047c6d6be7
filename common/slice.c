#include "common/slice.h"

#include <stdarg.h>
#include <stdio.h>

struct slice slice_print(char *room, size_t size, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(room, size, format, arguments);
    va_end(arguments);
    return slice_of(room, (size_t)length);
}
