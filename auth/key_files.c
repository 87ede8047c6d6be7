#include "auth/key_files.h"

#include "common/xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 16384

void key_files_say(struct buffer *error, const char *path, const char *cause)
{
    buffer_appendf(error, "TRUNKLINE_AUTH_KEYS: %s: %s", path, cause);
}

void key_text_finish(struct buffer *text)
{
    if (text->data != NULL)
        OPENSSL_cleanse(text->data, text->capacity);
    buffer_finish(text);
}

int key_file_read(const char *path, struct buffer *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length;

    if (fd < 0)
        return -errno;
    length = read(fd, buffer_reserve(out, FILE_MAX + 1), FILE_MAX);
    if (length < 0)
        length = -errno;
    close(fd);
    if (length < 0)
        return (int)length;
    out->length = (size_t)length;
    out->data[out->length] = '\0';
    return 0;
}

int key_directory_make(const char *directory, struct buffer *error)
{
    char *path = xstrdup(directory);
    int result = 0;

    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            result = -errno;
        *slash = '/';
    }
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        result = 0;
    else if (result == 0)
        result = -errno;
    free(path);
    if (result < 0)
        key_files_say(error, directory, strerror(-result));
    return result;
}

static int write_all(int fd, struct slice text)
{
    for (size_t done = 0; done < text.length;) {
        ssize_t count = write(fd, text.data + done, text.length - done);

        if (count < 0 && errno != EINTR)
            return -errno;
        if (count > 0)
            done += (size_t)count;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static void sync_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

/* A link, not a rename: of two processes that start together the first to come makes the key. */
static int write_file(const char *directory, const char *name, struct slice pem)
{
    char *temporary = xasprintf("%s/.new-%d", directory, (int)getpid());
    char *path = xasprintf("%s/%s", directory, name);
    int result, fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0) {
        result = -errno;
    } else {
        result = write_all(fd, pem);
        close(fd);
        if (result == 0 && link(temporary, path) < 0)
            result = -errno;
        unlink(temporary);
        sync_directory(directory);
    }
    free(path);
    free(temporary);
    return result;
}

int key_file_write(const char *directory, const char *name, EVP_PKEY *pkey)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *pem;
    int result = -ENOMEM;

    if (bio != NULL && PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1) {
        long length = BIO_get_mem_data(bio, &pem);

        result = write_file(directory, name, slice_of(pem, (size_t)length));
        OPENSSL_cleanse(pem, (size_t)length);
    }
    BIO_free(bio);
    return result;
}
