#include "auth/password_box.h"

#include "auth/key_files.h"
#include "common/xalloc.h"

#include <errno.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#define KEY_BITS 2048

static int make(const char *directory)
{
    EVP_PKEY *pkey = EVP_RSA_gen(KEY_BITS);
    int result = pkey ? key_file_write(directory, PASSWORD_BOX_FILE, pkey) : -ENOMEM;

    EVP_PKEY_free(pkey);
    return result == -EEXIST ? 0 : result;
}

struct unsealing_key *password_box_open(const char *directory, struct buffer *error)
{
    char *path = xasprintf("%s/%s", directory, PASSWORD_BOX_FILE);
    struct unsealing_key *key = NULL;
    struct buffer pem = {0};
    int result = key_directory_make(directory, error);

    if (result == 0) {
        result = key_file_read(path, &pem);
        if (result == -ENOENT)
            result = make(directory);
        if (result == 0 && pem.length == 0)
            result = key_file_read(path, &pem);
        if (result == 0)
            key = unsealing_key_read(buffer_slice(&pem));
        if (key == NULL)
            key_files_say(error, path,
                          result < 0 ? strerror(-result)
                                     : "no RSA private key of 2048 to 4096 bits");
    }
    key_text_finish(&pem);
    free(path);
    return key;
}
