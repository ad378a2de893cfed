#include "dane/fetch_curl.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/curl_library.h"
#include "dane/fetch_address.h"
#include "dane/frame.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Octets of all header lines of an answer: a CDN's are a tenth of it. */
#define HEADERS_MAX 16384

/* libcurl's own timers end a wait earlier. */
#define WAIT_MS 60000

#define HTTPS_PORT 443

struct transfer {
    struct dmsg_https *https;
    bool used;
    uint32_t id;
    CURL *easy;
    struct curl_slist *connect_to;
    bool pinned;
    struct dmsg_buffer content;
    size_t headers;
    const char *objection; /* of ours; NULL: none */
    char refused[INET6_ADDRSTRLEN];
    char text[CURL_ERROR_SIZE];
};

struct dmsg_https {
    struct dmsg_curl curl;
    struct curl_blob trust;
    CURLM *multi;
    dmsg_https_done *done;
    void *user;
    struct transfer transfers[DMSG_FETCHES_MAX];
};

/* ------------------------------------------------------------------------------------ callbacks */

static const char too_large[] = "what it has there is larger than a CA's certificate";

static size_t on_header(const char *line, size_t one, size_t size, void *user)
{
    struct transfer *transfer = user;
    (void)line;
    (void)one;
    transfer->headers += size;
    if (transfer->headers <= HEADERS_MAX)
        return size;
    transfer->objection = "its answer's header is too large";
    return 0;
}

static size_t on_content(const void *data, size_t one, size_t size, void *user)
{
    struct transfer *transfer = user;
    (void)one;
    dmsg_buffer_put(&transfer->content, data, size);
    if (!transfer->content.failed)
        return size;
    transfer->objection = too_large;
    return 0;
}

static in_port_t port_of(const struct sockaddr *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        return ntohs(v4.sin_port);
    }
    memcpy(&v6, address, sizeof v6);
    return ntohs(v6.sin6_port);
}

static void note_refused(struct transfer *transfer, const struct sockaddr *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        (void)inet_ntop(AF_INET, &v4.sin_addr, transfer->refused, sizeof transfer->refused);
    } else if (address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof v6);
        (void)inet_ntop(AF_INET6, &v6.sin6_addr, transfer->refused, sizeof transfer->refused);
    }
}

/* Sees the very address that is connected to next: no second look-up can change it in between. */
static curl_socket_t on_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer *transfer = user;
    if (purpose != CURLSOCKTYPE_IPCXN || address->socktype != SOCK_STREAM)
        return CURL_SOCKET_BAD;
    if (!transfer->pinned &&
        (!dmsg_address_public(&address->addr) || port_of(&address->addr) != HTTPS_PORT)) {
        note_refused(transfer, &address->addr);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
}

/* ------------------------------------------------------------------------------------- starting */

/* "HOST:443:ADDR:PORT": the URL, and with it the name that is verified, stays the host's. */
static bool set_pin(struct transfer *transfer, const struct dmsg_pin *pin)
{
    char text[DMSG_NAME_TEXT + DMSG_PIN_ADDRESS_TEXT + 32];
    if (pin == NULL)
        return true;
    bool v6 = strchr(pin->address, ':') != NULL;
    snprintf(text, sizeof text, "%s:%d:%s%s%s:%u", pin->host.text, HTTPS_PORT, v6 ? "[" : "",
        pin->address, v6 ? "]" : "", pin->port);
    transfer->pinned = true;
    transfer->connect_to = transfer->https->curl.curl_slist_append(NULL, text);
    return transfer->connect_to != NULL;
}

/* True when libcurl took them all: one that it does not know must not be passed over. */
static bool set_options(struct transfer *transfer, const char *url)
{
    struct dmsg_https *https = transfer->https;
    CURL *easy = transfer->easy;
    int failed = 0;
#define SET(option, value) failed |= https->curl.curl_easy_setopt(easy, option, value) != CURLE_OK
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PROTOCOLS_STR, "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_CONNECT_TO, transfer->connect_to);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSL_ENABLE_ALPN, 0L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_CAINFO, NULL);
    SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_CAINFO_BLOB, &https->trust);
    SET(CURLOPT_TIMEOUT_MS, (long)DMSG_FETCH_MS);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* or a slow name server would hold all others up */
    SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    SET(CURLOPT_FORBID_REUSE, 1L);
    SET(CURLOPT_MAXFILESIZE, (long)DMSG_FETCH_SIZE_MAX);
    SET(CURLOPT_USERAGENT, "danemsg");
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, transfer);
    SET(CURLOPT_WRITEFUNCTION, on_content);
    SET(CURLOPT_WRITEDATA, transfer);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
    SET(CURLOPT_OPENSOCKETDATA, transfer);
    SET(CURLOPT_ERRORBUFFER, transfer->text);
    SET(CURLOPT_PRIVATE, transfer);
#undef SET
    return failed == 0;
}

static void empty_transfer(struct transfer *transfer)
{
    struct dmsg_curl *curl = &transfer->https->curl;
    if (transfer->easy != NULL) {
        (void)curl->curl_multi_remove_handle(transfer->https->multi, transfer->easy);
        curl->curl_easy_cleanup(transfer->easy);
    }
    curl->curl_slist_free_all(transfer->connect_to);
    dmsg_buffer_done(&transfer->content);
    transfer->used = false;
}

static struct transfer *free_transfer(struct dmsg_https *https)
{
    for (size_t i = 0; i < DMSG_FETCHES_MAX; i++) {
        if (!https->transfers[i].used)
            return &https->transfers[i];
    }
    return NULL;
}

int dmsg_https_start(struct dmsg_https *https, uint32_t id, const struct dmsg_fetch *fetch,
    const struct dmsg_pin *pin, struct dmsg_error *error)
{
    char url[DMSG_NAME_TEXT + DMSG_AKI_TEXT + sizeof "https:///.well-known/ca/.pem"];
    struct transfer *transfer = free_transfer(https);
    if (transfer == NULL)
        return dmsg_fail(error, DMSG_E_QUOTA, "%d fetches are under way", DMSG_FETCHES_MAX);
    *transfer = (struct transfer){.https = https,
        .used = true,
        .id = id,
        .content.limit = DMSG_FETCH_SIZE_MAX,
        .easy = https->curl.curl_easy_init()};
    snprintf(url, sizeof url, "https://%s/.well-known/ca/%s.pem", fetch->host.text, fetch->aki);
    if (transfer->easy != NULL && set_pin(transfer, pin) && set_options(transfer, url) &&
        https->curl.curl_multi_add_handle(https->multi, transfer->easy) == CURLM_OK)
        return 0;
    empty_transfer(transfer);
    return dmsg_fail(error, DMSG_E_INTERNAL, "libcurl cannot start a fetch");
}

/* ------------------------------------------------------------------------------------ finishing */

static void say(struct dmsg_fetched *fetched, enum dmsg_fetch_status status, const char *why)
{
    fetched->status = status;
    dmsg_printable(fetched->why, sizeof fetched->why, dmsg_span_text(why));
}

/* Before TLS has shown who answers, anybody on the way can make a failure. */
static void judge_failure(
    struct dmsg_fetched *fetched, const struct transfer *transfer, CURLcode code)
{
    char why[sizeof fetched->why];
    if (code == CURLE_FILESIZE_EXCEEDED || transfer->objection != NULL) {
        say(fetched, DMSG_FETCH_NONE,
            transfer->objection != NULL ? transfer->objection : too_large);
    } else if (transfer->refused[0] != '\0') {
        snprintf(
            why, sizeof why, "its address %s is none of the public Internet", transfer->refused);
        say(fetched, DMSG_FETCH_NOT_NOW, why);
    } else if (transfer->text[0] != '\0' &&
               (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_COULDNT_RESOLVE_HOST)) {
        say(fetched, DMSG_FETCH_NOT_NOW, transfer->text);
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        snprintf(why, sizeof why, "no answer within %d seconds", DMSG_FETCH_MS / 1000);
        say(fetched, DMSG_FETCH_NOT_NOW, why);
    } else {
        say(fetched, DMSG_FETCH_NOT_NOW, transfer->https->curl.curl_easy_strerror(code));
    }
}

static void judge_status(struct dmsg_fetched *fetched, const struct transfer *transfer, long status)
{
    char why[sizeof fetched->why];
    bool later = status >= 500 || status == 429 || status == 408; /* RFC 9110, RFC 6585 */
    if (status == 200 && transfer->content.size > 0) {
        fetched->status = DMSG_FETCH_CONTENT;
        fetched->content = dmsg_buffer_span(&transfer->content);
        return;
    }
    if (status == 200)
        snprintf(why, sizeof why, "what it has there is empty");
    else if (status >= 300 && status < 400)
        snprintf(why, sizeof why, "HTTP status %ld, a redirect, which is not followed", status);
    else
        snprintf(why, sizeof why, "HTTP status %ld", status);
    say(fetched, later ? DMSG_FETCH_NOT_NOW : DMSG_FETCH_NONE, why);
}

static void finish(struct dmsg_https *https, const CURLMsg *message)
{
    struct transfer *transfer = NULL;
    long status = 0;
    struct dmsg_fetched fetched = {0};
    CURLcode code = message->data.result;
    (void)https->curl.curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    (void)https->curl.curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
    /* That an error page is large is not what is wrong with it. */
    bool error_page = code == CURLE_FILESIZE_EXCEEDED && status != 200;
    if (code != CURLE_OK && !error_page)
        judge_failure(&fetched, transfer, code);
    else
        judge_status(&fetched, transfer, status);
    https->done(https->user, transfer->id, &fetched);
    empty_transfer(transfer);
}

int dmsg_https_turn(struct dmsg_https *https, int fd, short *events, struct dmsg_error *error)
{
    struct curl_waitfd other = {.fd = fd, .events = *events};
    int running = 0, left = 0;
    CURLMsg *message;
    if (https->curl.curl_multi_poll(https->multi, &other, 1, WAIT_MS, NULL) != CURLM_OK ||
        https->curl.curl_multi_perform(https->multi, &running) != CURLM_OK)
        return dmsg_fail(error, DMSG_E_INTERNAL, "libcurl has failed");
    *events = other.revents;
    while ((message = https->curl.curl_multi_info_read(https->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE)
            finish(https, message);
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------ new */

int dmsg_https_new(struct dmsg_https **out, struct dmsg_span trust, dmsg_https_done *done,
    void *user, struct dmsg_error *error)
{
    struct dmsg_curl curl;
    int result = dmsg_curl_load(&curl, error);
    if (result < 0)
        return result;
    struct dmsg_https *https = calloc(1, sizeof *https);
    if (https == NULL)
        return dmsg_fail_memory(error);
    union {
        const uint8_t *in;
        void *out;
    } octets = {.in = trust.data};
    *https = (struct dmsg_https){.curl = curl,
        .trust = {.data = octets.out, .len = trust.size, .flags = CURL_BLOB_NOCOPY},
        .multi = curl.curl_multi_init(),
        .done = done,
        .user = user};
    if (https->multi == NULL) {
        free(https);
        return dmsg_fail_memory(error);
    }
    *out = https;
    return 0;
}
