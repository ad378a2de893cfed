#include "receiving.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "cmd_identity_common.h"
#include "memory_bound.h"
#include "readiness.h"
#include "service/receive.h"
#include "session.h"
#include "store/memory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* Milliseconds between two warnings of a certificate that ends. */
#define WARN_PAUSE (86400 * 1000)

/* Octets that --clean keeps undelivered in memory before it takes no more. */
#define CLEAN_PENDING (32 * 1024 * 1024)
/* And at most, with what waits for DNS. */
#define CLEAN_KEPT ((size_t)DMSG_MEMORY_KEPT_OCTETS + DMSG_TRUSTED_OCTETS + DMSG_STRANGERS_OCTETS)

/* What an MQTT packet holds beside payload and topic: headers and properties. */
#define PACKET_OVERHEAD 512

/* ----------------------------------------------------------------------- what the loop calls */

static int deliver(
    void *user, const struct dmsg_record *record, bool at_once, struct dmsg_error *error)
{
    struct receiving *receiving = user;
    return delivering_deliver(&receiving->delivering, record, at_once, error);
}

static int delivery_end(void *user, struct dmsg_error *why)
{
    struct receiving *receiving = user;
    return delivering_end(&receiving->delivering, why);
}

static int delivery_fd(void *user)
{
    struct receiving *receiving = user;
    return delivering_fd(&receiving->delivering);
}

static void warn_of_certificates(struct receiving *receiving)
{
    int64_t now = dmsg_now_ms();
    if (receiving->warned_at != 0 && now - receiving->warned_at < WARN_PAUSE)
        return;
    receiving->warned_at = now;
    print_warnings(receiving->self->program, reload_identity(&receiving->reload),
        dmsg_context_now(&receiving->context));
}

static const struct dmsg_identity *look_for_keys(void *user, bool at_once)
{
    struct receiving *receiving = user;
    warn_of_certificates(receiving);
    return reload_look(&receiving->reload, at_once);
}

static void keys_used(void *user, const struct dmsg_error *why)
{
    struct receiving *receiving = user;
    if (why != NULL)
        reload_refuse(&receiving->reload, why);
    else
        reload_use(&receiving->reload);
}

static bool stop(void *user)
{
    struct receiving *receiving = user;
    return housekeeping_turn(&receiving->housekeeping);
}

/* ---------------------------------------------------------------------------------- preparing */

static int read_policy(struct receiving *receiving, struct dmsg_error *error)
{
    const struct receive *options = receiving->options;
    int result = add_patterns(&receiving->allow, &options->allow, "--allow", error);
    if (result == 0 && options->allow_file != NULL)
        result = add_pattern_file(&receiving->allow, options->allow_file, error);
    if (result == 0)
        result = add_patterns(&receiving->accept_poc, &options->accept_poc, "--accept-poc", error);
    receiving->policy = (struct dmsg_policy){.allow = receiving->allow.items,
        .allow_count = receiving->allow.count,
        .accept_poc = receiving->accept_poc.items,
        .accept_poc_count = receiving->accept_poc.count,
        .size_limit = (size_t)options->size_limit};
    return result;
}

/* A file that cannot be written to is told of now; later, the service goes on without. */
static int own_status_path(struct receiving *receiving, const char *path, struct dmsg_error *error)
{
    struct stat facts;
    int fd DMSG_CLEANUP(dmsg_cleanup_fd) =
        open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0 || fstat(fd, &facts) < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "writing the status file %s", path);
    if (!S_ISREG(facts.st_mode)) /* a new one is renamed to it each time: /dev/null would be gone */
        return dmsg_fail(
            error, DMSG_E_LOCAL, "the status file %s is no regular file: name another", path);
    receiving->status_path = strdup(path);
    return receiving->status_path == NULL ? dmsg_fail_memory(error) : 0;
}

static int open_housekeeping(struct receiving *receiving, struct dmsg_error *error)
{
    const struct receive *options = receiving->options;
    receiving->figures = (struct receiver_figures){.state = &receiving->seen};
    struct housekeeping_config config = {.metrics = options->metrics,
        .name = &receiving->name,
        .source = receiver_figures_source(&receiving->figures)};
    int result = 0;
    if (options->status != NULL)
        result = own_status_path(receiving, options->status, error);
    else if (!options->clean)
        result = state_file(
            &receiving->status_path, options->store.state, &receiving->name, STATUS_SUFFIX, error);
    config.status_path = receiving->status_path;
    return result < 0 ? result : housekeeping_open(&receiving->housekeeping, &config, error);
}

/* Each of those who share a subscription gets a part, and with its own memory of what it has seen
   would take a copy for new: receiving_check wants a store that they share. */
static int subscribe(struct receiving *receiving, const char *filter, struct dmsg_error *error)
{
    const struct receive *options = receiving->options;
    char *shared DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    if (strncmp(filter, "$share/", 7) == 0)
        return dmsg_fail(error, DMSG_E_USAGE,
            "-t %s: receivers that share a subscription are started with --group NAME", filter);
    if (options->group != NULL) {
        if (asprintf(&shared, "$share/%s/%s", options->group, filter) < 0) {
            shared = NULL;
            return dmsg_fail_memory(error);
        }
        filter = shared;
    }
    return dmsg_mqtt_subscribe_qos(receiving->mqtt, filter, (int)options->qos, error);
}

/* Lock and client id, once. */
static int open_state(struct receiving *receiving, struct dmsg_error *error)
{
    const struct receive *options = receiving->options;
    struct dmsg_mqtt_config *config = &receiving->broker.config;
    size_t size = options->size_limit != 0 ? (size_t)options->size_limit : DMSG_MESSAGE_SIZE_MAX;
    config->clean = options->clean;
    config->session_expiry = options->clean ? 0 : DMSG_LIFE_MAX; /* no message lives longer */
    config->packet_limit = size + DMSG_TOPIC_MAX + PACKET_OVERHEAD;
    if (config->version != 311)
        memory_bound(size, options->clean ? CLEAN_KEPT : 0);
    if (options->clean)
        return 0;
    int result =
        receiver_state_open(&receiving->state, options->store.state, &receiving->name, error);
    if (result == 0 && config->client_id == NULL)
        config->client_id = receiving->state.client_id;
    config->expects_session = receiving->state.known;
    return result;
}

static int open_broker(
    struct receiving *receiving, const struct dmsg_identity *me, struct dmsg_error *error)
{
    const struct receive *options = receiving->options;
    int result = broker_open(&receiving->mqtt, &receiving->broker, receiving->discovery, me, error);
    for (size_t i = 0; result == 0 && i < options->topics.count; i++)
        result = subscribe(receiving, options->topics.items[i], error);
    if (result == 0 && options->topics.count == 0)
        result = subscribe(receiving,
            receiving->broker.topic != NULL ? receiving->broker.topic : receiving->name.text,
            error);
    return result;
}

/* Whoever publishes its record may be written to at once, and the receiver may learn of it only
   after a pause: the broker keeps what comes in between. */
static int begin_session(void *user, const struct dmsg_identity *me, struct dmsg_error *error)
{
    struct receiving *receiving = user;
    const struct session_wait wait = {receiving->housekeeping.fd, stop, receiving};
    if (receiving->options->clean)
        return 1;
    int result = open_broker(receiving, me, error);
    if (result == 0)
        result = session_begin(receiving->mqtt, &wait, error);
    dmsg_mqtt_free(&receiving->mqtt);
    broker_dane_done(&receiving->broker.dane);
    if (result == 1)
        receiving->broker.config.expects_session = true;
    return result;
}

/* For `danemsg status`. */
static void waits(void *user, const struct dmsg_error *why)
{
    struct receiving *receiving = user;
    struct dmsg_receive_state *seen = &receiving->seen;
    if (seen->broker_at == 0)
        seen->broker_at = dmsg_context_now(&receiving->context);
    snprintf(seen->broker, sizeof seen->broker, FIGURES_WAITS "%s: %.440s",
        dmsg_error_word(why->code), why->text);
}

static int wait_until_ready(struct receiving *receiving, struct dmsg_error *error)
{
    const struct readiness readiness = {
        .program = receiving->self->program,
        .context = &receiving->context,
        .identity = &receiving->options->identity,
        .discovery = receiving->discovery,
        .deadline = receiving->deadline,
        .wake_fd = receiving->housekeeping.fd,
        .stop = stop,
        .begin_session = begin_session,
        .waits = waits,
        .user = receiving,
    };
    int result = readiness_wait(&readiness, &receiving->me, error);
    receiving->seen.broker_at = 0;
    receiving->seen.broker[0] = '\0';
    return result;
}

static int open_receivers_store(struct receiving *receiving, struct dmsg_error *error)
{
    const struct receive *options = receiving->options;
    const struct dmsg_name *name = dmsg_identity_name(receiving->me);
    if (options->clean)
        return dmsg_store_open_memory(&receiving->store, &receiving->context, name, error);
    struct store_choice choice = options->store;
    choice.member = receiving->broker.config.client_id;
    int result = open_store(&receiving->store, &receiving->context, &choice, name, error);
    if (result == 0)
        dmsg_store_retain(receiving->store, options->retain, options->retain_size * RETAIN_UNIT);
    return result;
}

/* Whose names are resolved apart from those of strangers: one's own, the broker's, whoever the
   policy names, and who was verified before, so that a fleet which is known is not held up. */
static bool is_listed(void *user, const struct dmsg_name *name)
{
    const struct receiving *receiving = user;
    const char *broker = receiving->broker.config.host;
    size_t size = broker != NULL ? strlen(broker) : 0;
    if (dmsg_name_equal(name, &receiving->name))
        return true;
    if (size > 0 && name->text[0] == '_' && name->size > size + 1 &&
        name->text[name->size - size - 1] == '.' &&
        strcasecmp(name->text + name->size - size, broker) == 0)
        return true;
    for (size_t i = 0; i < receiving->accept_poc.count; i++) {
        if (dmsg_pattern_match(&receiving->accept_poc.items[i], name))
            return true;
    }
    return receiving->store != NULL && dmsg_store_verified_before(receiving->store, name);
}

/* With an allow-list nobody else is ever asked for, and one resolver is enough. */
static int open_resolvers(struct receiving *receiving, struct dmsg_error *error)
{
    char *folder DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    char *trust DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    struct dmsg_discovery_config config;
    discovery_config(&config, &receiving->options->dns);
    config.is_listed = receiving->policy.allow_count == 0 ? is_listed : NULL;
    config.user = receiving;
    if (!receiving->options->clean) {
        int result = state_folder(&folder, receiving->options->store.state, error);
        if (result < 0)
            return result;
        if (asprintf(&trust, "%s/" TRUST_FOLDER, folder) < 0)
            trust = NULL;
        config.resolver.trust_folder = trust;
    }
    int result = start_discovery(&receiving->discovery, &receiving->context, &config, error);
    if (result == 0 && dmsg_discovery_note(receiving->discovery)[0] != '\0')
        print_note(receiving->self->program, "%s", dmsg_discovery_note(receiving->discovery));
    return result;
}

/* The resolver processes first: they must not hold a key. */
int receiving_prepare(struct receiving *receiving, struct dmsg_error *error)
{
    const struct receive *options = receiving->options;
    int result = read_policy(receiving, error);
    if (result == 0)
        result = broker_read(&receiving->broker, &options->broker, receiving->self->program, error);
    if (result == 0)
        result = open_resolvers(receiving, error);
    if (result == 0)
        result = open_housekeeping(receiving, error);
    if (result == 0)
        result = open_state(receiving, error);
    if (result == 0)
        result = wait_until_ready(receiving, error);
    if (result < 0 || receiving->me == NULL)
        return result;
    if (receiving->policy.allow_count == 0)
        print_note(receiving->self->program, "without --allow every verified name may write");
    result = reload_init(&receiving->reload, receiving->self->program, &receiving->context,
        &options->identity, receiving->me, error);
    if (result == 0)
        warn_of_certificates(receiving);
    if (result == 0)
        result = open_broker(receiving, receiving->me, error);
    if (result == 0)
        result = open_receivers_store(receiving, error);
    receiving->figures.store = receiving->store;
    return result;
}

/* --clean: what is still in memory ends with it, and that is said. */
static void say_what_is_lost(const struct receiving *receiving)
{
    struct dmsg_record record;
    size_t waiting = 0, kept = 0;
    if (receiving->store == NULL || !receiving->options->clean)
        return;
    for (int64_t row = 0; dmsg_store_waiting(receiving->store, NULL, row, &record, NULL) == 1;
         row = record.row)
        waiting++;
    for (int64_t row = 0; dmsg_store_next(receiving->store, row, &record, NULL) == 1;
         row = record.row)
        kept++;
    if (waiting > 0)
        print_note(receiving->self->program,
            "dns-temporary: %zu message(s) still waited for DNS and are lost with this process",
            waiting);
    if (kept > 0)
        print_note(receiving->self->program,
            "%zu message(s) that were taken are not delivered and lost with this process", kept);
}

void receiving_done(struct receiving *receiving)
{
    say_what_is_lost(receiving);
    dmsg_mqtt_free(&receiving->mqtt);
    dmsg_store_close(&receiving->store);
    reload_done(&receiving->reload);
    dmsg_identity_free(&receiving->me);
    dmsg_discovery_free(&receiving->discovery);
    broker_done(&receiving->broker);
    receiver_state_done(&receiving->state);
    free(receiving->allow.items);
    free(receiving->accept_poc.items);
    delivering_done(&receiving->delivering);
    housekeeping_close(&receiving->housekeeping);
    free(receiving->status_path);
}

/* ------------------------------------------------------------------------------------ the run */

/* Of -W, for the loop: at least a second, so that what waits at the broker is taken. */
static int time_left(const struct receiving *receiving)
{
    int64_t left = (receiving->deadline - dmsg_now_ms()) / 1000;
    return receiving->deadline == 0 ? 0 : left < 1 ? 1 : (int)left;
}

int receiving_run(struct receiving *receiving, struct dmsg_error *error)
{
    bool command = receiving->options->delivering.command != NULL;
    receiving->delivering.stop = stop;
    receiving->delivering.user = receiving;
    receiving->delivering.wake_fd = receiving->housekeeping.fd;
    struct dmsg_receive_config config = {
        .context = &receiving->context,
        .identity = receiving->me,
        .policy = &receiving->policy,
        .store = receiving->store,
        .mqtt = receiving->mqtt,
        .discovery = receiving->discovery,
        .log = &receiving->log,
        .identity_look = look_for_keys,
        .identity_used = keys_used,
        .deliver = deliver,
        .delivery_end = command ? delivery_end : NULL,
        .delivery_fd = command ? delivery_fd : NULL,
        .user = receiving,
        .stop = stop,
        .wake_fd = receiving->housekeeping.fd,
        .state = &receiving->seen,
        .pending_limit = receiving->options->clean ? CLEAN_PENDING
                                                   : receiving->options->pending_size * RETAIN_UNIT,
        .count_limit = (uint64_t)receiving->options->count,
        .timeout = time_left(receiving),
    };
    int result = dmsg_receive(&config, error);
    return result != DMSG_E_TIMEOUT ? result
                                    : dmsg_fail(error, result, "%lld seconds are over",
                                          (long long)receiving->options->wait);
}
