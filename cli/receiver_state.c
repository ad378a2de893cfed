#include "receiver_state.h"

#include "base/base64url.h"
#include "base/cleanup.h"
#include "base/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

int state_lock(int *out, const char *path, const char *who, struct dmsg_error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "opening %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int result = errno == EWOULDBLOCK
                         ? dmsg_fail(error, DMSG_E_LOCAL,
                               "another %s of this identity runs with this state folder "
                               "(it holds %s); stop it, or give --state another folder",
                               who, path)
                         : dmsg_fail_errno(error, DMSG_E_LOCAL, "locking %s", path);
        close(fd);
        return result;
    }
    *out = fd;
    return 0;
}

static int make_client_id(char id[static CLIENT_ID_SIZE], struct dmsg_error *error)
{
    struct dmsg_context context = {0};
    uint8_t random[CLIENT_ID_OCTETS];
    memcpy(id, "dm", 2);
    if (dmsg_context_random(&context, random, sizeof random) < 0)
        return dmsg_fail_openssl(error, "taking random octets for a client id");
    dmsg_base64url_encode(id + 2, (struct dmsg_span){random, sizeof random});
    id[2 + dmsg_base64url_encoded_size(sizeof random)] = '\0';
    return 0;
}

/* With its name, which a power cut would take with the session, and all that waits there. */
static int sync_folder(const char *path)
{
    char *folder DMSG_CLEANUP(dmsg_cleanup_free) =
        strndup(path, (size_t)(strrchr(path, '/') - path) + 1);
    int fd DMSG_CLEANUP(dmsg_cleanup_fd) =
        folder == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

/* Written beside and renamed, so that a half-written id is never read. path has a folder. */
static int save_client_id(const char *path, const char *id, struct dmsg_error *error)
{
    char *temporary DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    int fd DMSG_CLEANUP(dmsg_cleanup_fd) = -1;
    size_t size = strlen(id);
    if (asprintf(&temporary, "%s.new", path) < 0) {
        temporary = NULL;
        return dmsg_fail_memory(error);
    }
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, id, size) != (ssize_t)size || fsync(fd) < 0 ||
        rename(temporary, path) < 0 || sync_folder(path) < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "writing %s", path);
    return 0;
}

static bool is_client_id(const char *id)
{
    return strlen(id) >= 2 + dmsg_base64url_encoded_size(CLIENT_ID_OCTETS) &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
               strlen(id);
}

static int read_client_id(char id[static CLIENT_ID_SIZE], const char *path)
{
    int fd DMSG_CLEANUP(dmsg_cleanup_fd) = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t size = fd < 0 ? -1 : read(fd, id, CLIENT_ID_SIZE - 1);
    if (size < 0)
        return -1;
    id[size] = '\0';
    return is_client_id(id) ? 0 : -1;
}

int receiver_state_open(struct receiver_state *out, const char *folder,
    const struct dmsg_name *name, struct dmsg_error *error)
{
    struct receiver_state state = {0};
    char *lock DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    char *id DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    int result = state_file(&lock, folder, name, "lock", error);
    if (result == 0)
        result = state_file(&id, folder, name, "client-id", error);
    if (result < 0)
        return result;
    result = state_lock(&state.lock_fd, lock, "receiver", error);
    state.known = result == 0 && read_client_id(state.client_id, id) == 0;
    if (result == 0 && !state.known) {
        result = make_client_id(state.client_id, error);
        if (result == 0)
            result = save_client_id(id, state.client_id, error);
    }
    if (result < 0) {
        receiver_state_done(&state);
        return result;
    }
    *out = state;
    return 0;
}

void receiver_state_done(struct receiver_state *state)
{
    if (state->lock_fd > 0)
        close(state->lock_fd);
    state->lock_fd = 0;
}
