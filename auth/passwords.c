#include "auth/passwords.h"

#include "common/uid.h"
#include "common/xalloc.h"

#include <argon2.h>
#include <errno.h>
#include <stdlib.h>

/* OWASP's recommendation for Argon2id: some 30 ms and 19 MiB each. */
#define ARGON2_PASSES 2
#define ARGON2_MEMORY_KIB 19456
#define ARGON2_LANES 1
#define SALT_BYTES 16
#define HASH_BYTES 32
#define ENCODED_SIZE 160

struct passwords {
    uv_loop_t *loop;
    size_t jobs;
    bool destroyed;
    char no_user[ENCODED_SIZE]; /* compared with when there is no such user */
};

struct password_job {
    uv_work_t work;
    struct passwords *passwords;
    char *password;
    size_t length;
    char encoded[ENCODED_SIZE];
    bool done; /* hashed, or right */
    bool no_user;
    passwords_hashed_fn *on_hashed;
    passwords_checked_fn *on_checked;
    void *arg;
};

/* On a thread. Returns whether it went well. */
static bool make_hash(const char *password, size_t length, char encoded[ENCODED_SIZE])
{
    unsigned char salt[SALT_BYTES];

    uid_random(salt, sizeof(salt));
    return argon2id_hash_encoded(ARGON2_PASSES, ARGON2_MEMORY_KIB, ARGON2_LANES, password, length,
                                 salt, sizeof(salt), HASH_BYTES, encoded,
                                 ENCODED_SIZE) == ARGON2_OK;
}

struct passwords *passwords_create(uv_loop_t *loop)
{
    struct passwords *passwords = xcalloc(1, sizeof(*passwords));
    unsigned char nobody[32];

    passwords->loop = loop;
    uid_random(nobody, sizeof(nobody));
    if (!make_hash((const char *)nobody, sizeof(nobody), passwords->no_user))
        abort(); /* no memory for one hash */
    return passwords;
}

static void release(struct passwords *passwords)
{
    if (passwords->destroyed && passwords->jobs == 0)
        free(passwords);
}

void passwords_destroy(struct passwords **passwords)
{
    if (*passwords == NULL)
        return;
    (*passwords)->destroyed = true;
    release(*passwords);
    *passwords = NULL;
}

size_t passwords_jobs(const struct passwords *passwords)
{
    return passwords->jobs;
}

static void finish_job(struct password_job *job)
{
    struct passwords *passwords = job->passwords;

    explicit_bzero(job->password, job->length);
    free(job->password);
    free(job);
    passwords->jobs--;
    release(passwords);
}

static int begin_job(struct passwords *passwords, struct password_job *job, uv_work_cb work,
                     uv_after_work_cb after)
{
    job->work.data = job;
    job->passwords = passwords;
    passwords->jobs++;
    if (uv_queue_work(passwords->loop, &job->work, work, after) == 0)
        return 0;
    finish_job(job);
    return -EBUSY;
}

static struct password_job *make_job(struct slice password, void *arg)
{
    struct password_job *job = xcalloc(1, sizeof(*job));

    job->password = xmemdup0(password.data, password.length);
    job->length = password.length;
    job->arg = arg;
    return job;
}

/* ---- hashing -----------------------------------------------------------------------------------
 */

static void hash_work(uv_work_t *work)
{
    struct password_job *job = work->data;

    job->done = make_hash(job->password, job->length, job->encoded);
}

static void after_hash(uv_work_t *work, int status)
{
    struct password_job *job = work->data;

    job->on_hashed(job->arg, status == 0 && job->done ? job->encoded : NULL);
    finish_job(job);
}

int passwords_hash(struct passwords *passwords, struct slice password,
                   passwords_hashed_fn *callback, void *arg)
{
    struct password_job *job;

    if (passwords->jobs >= PASSWORDS_MAX)
        return -EBUSY;
    job = make_job(password, arg);
    job->on_hashed = callback;
    return begin_job(passwords, job, hash_work, after_hash);
}

/* ---- comparing ---------------------------------------------------------------------------------
 */

static void check_work(uv_work_t *work)
{
    struct password_job *job = work->data;

    /* libargon2 compares in constant time. */
    job->done = argon2id_verify(job->encoded, job->password, job->length) == ARGON2_OK;
}

static void after_check(uv_work_t *work, int status)
{
    struct password_job *job = work->data;

    job->on_checked(job->arg, status == 0 && job->done && !job->no_user);
    finish_job(job);
}

int passwords_check(struct passwords *passwords, struct slice password, const char *encoded,
                    passwords_checked_fn *callback, void *arg)
{
    struct password_job *job;

    if (passwords->jobs >= PASSWORDS_MAX)
        return -EBUSY;
    job = make_job(password, arg);
    job->no_user = encoded == NULL || strlen(encoded) >= ENCODED_SIZE;
    strcpy(job->encoded, job->no_user ? passwords->no_user : encoded);
    job->on_checked = callback;
    return begin_job(passwords, job, check_work, after_check);
}
