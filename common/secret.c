#include "common/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int read_file(const char *path, struct buffer *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length;

    if (fd < 0)
        return -errno;
    /* One byte more than may be there shows a file that is too long. */
    length = read(fd, buffer_reserve(out, SECRET_MAX + 3), SECRET_MAX + 3);
    if (length < 0) {
        length = -errno;
        close(fd);
        return (int)length;
    }
    close(fd);
    out->length += (size_t)length;
    return 0;
}

int secret_read(const char *path, struct buffer *secret, struct buffer *error)
{
    int result = read_file(path, secret);

    if (result < 0) {
        buffer_appendf(error, "TRUNKLINE_TOKEN_SECRET_FILE: cannot read %s: %s", path,
                       strerror(-result));
        return result;
    }
    if (secret->length > 0 && secret->data[secret->length - 1] == '\n')
        secret->length--;
    if (secret->length > 0 && secret->data[secret->length - 1] == '\r')
        secret->length--;
    if (secret->length < SECRET_MIN || secret->length > SECRET_MAX) {
        buffer_appendf(error, "TRUNKLINE_TOKEN_SECRET_FILE: %s must hold %d to %d bytes", path,
                       SECRET_MIN, SECRET_MAX);
        secret_finish(secret);
        return -EINVAL;
    }
    return 0;
}

void secret_finish(struct buffer *secret)
{
    if (secret->data != NULL)
        explicit_bzero(secret->data, secret->capacity);
    buffer_finish(secret);
}
