/*
 * PowerDNS's API (https://doc.powerdns.com/authoritative/http-api/), by libcurl. The API has no
 * compare-and-swap: the set is read again right before it is replaced, and what another writes in
 * the moment between is lost.
 */
#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/curl_library.h"
#include "dane/fetch_trust.h"
#include "dane/publish_internal.h"
#include "dane/publish_json.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

/* Seconds to connect, and for one answer: a zone that is signed anew as it changes takes some. */
#define CONNECT_TIMEOUT 10L
#define TIMEOUT 30L

/* Octets of an answer. One set of 64 records in hexadecimal digits has up to 1 MiB; a server that
   does not know the filters sends the whole zone, which may be longer than this. */
#define ANSWER_MAX (4 * 1024 * 1024)

#define URL_MAX 2048
#define SERVER_PATH "/api/v1/servers/localhost/zones"

#define HTTP_OK 200
#define HTTP_NO_CONTENT 204
#define HTTP_BAD_REQUEST 400
#define HTTP_UNAUTHORIZED 401
#define HTTP_FORBIDDEN 403
#define HTTP_NOT_FOUND 404
#define HTTP_UNPROCESSABLE 422
#define HTTP_SERVER_ERROR 500

/* A URL and the parts of it that were looked at. */
struct url {
    struct dmsg_curl curl;
    CURLU *parsed;
    char *scheme, *host;
};

static void free_url(struct url *url)
{
    url->curl.curl_free(url->scheme);
    url->curl.curl_free(url->host);
    url->curl.curl_url_cleanup(url->parsed);
}

/* ----------------------------------------------------------------------------------------- URL */

/* Where the key does not leave the machine. */
static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}

static bool get_part(const struct url *url, CURLUPart part, char **out)
{
    return url->curl.curl_url_get(url->parsed, part, out, 0) == CURLUE_OK;
}

static bool has_part(const struct url *url, CURLUPart part)
{
    char *text = NULL;
    bool has = get_part(url, part, &text);
    url->curl.curl_free(text);
    return has;
}

int dmsg_powerdns_check(const char *text, struct dmsg_error *error)
{
    struct dmsg_curl curl;
    int result = dmsg_curl_load(&curl, error);
    if (result < 0)
        return result;
    DMSG_CLEANUP(free_url) struct url url = {.curl = curl, .parsed = curl.curl_url()};
    if (url.parsed == NULL)
        return dmsg_fail_memory(error);
    bool good = strlen(text) < URL_MAX / 2 &&
                curl.curl_url_set(url.parsed, CURLUPART_URL, text, 0) == CURLUE_OK &&
                get_part(&url, CURLUPART_SCHEME, &url.scheme) &&
                get_part(&url, CURLUPART_HOST, &url.host) &&
                (strcmp(url.scheme, "https") == 0 || strcmp(url.scheme, "http") == 0) &&
                !has_part(&url, CURLUPART_USER) && !has_part(&url, CURLUPART_PASSWORD) &&
                !has_part(&url, CURLUPART_QUERY) && !has_part(&url, CURLUPART_FRAGMENT);
    if (!good)
        return dmsg_fail(error, DMSG_E_USAGE,
            "not the URL of a PowerDNS API: write https://HOST[:PORT] or http://127.0.0.1:8081");
    if (strcmp(url.scheme, "http") == 0 && !is_loopback(url.host))
        return dmsg_fail(error, DMSG_E_USAGE,
            "%s would carry the API's key over the network in the clear: use https, or a tunnel "
            "to http://127.0.0.1:PORT",
            text);
    return 0;
}

/* ---------------------------------------------------------------------------------------- HTTP */

struct request {
    struct dmsg_curl curl;
    CURL *easy;
    struct curl_slist *headers;
    const char *method;
    char url[URL_MAX];
    struct dmsg_span body;
    struct dmsg_buffer trust; /* CA certificates, for https */
    struct dmsg_buffer answer;
    long status;
};

/* What libcurl has of it. libcurl copies the lines of a header, and the key is in one. */
static void end_transfer(struct request *request)
{
    for (struct curl_slist *line = request->headers; line != NULL; line = line->next)
        OPENSSL_cleanse(line->data, strlen(line->data));
    if (request->headers != NULL)
        request->curl.curl_slist_free_all(request->headers);
    if (request->easy != NULL)
        request->curl.curl_easy_cleanup(request->easy);
    dmsg_buffer_done(&request->trust);
    request->headers = NULL;
    request->easy = NULL;
}

static void end_request(struct request *request)
{
    end_transfer(request);
    dmsg_buffer_done(&request->answer);
}

static size_t on_data(char *data, size_t one, size_t size, void *user)
{
    struct dmsg_buffer *answer = user;
    dmsg_buffer_put(answer, data, one * size);
    return answer->failed ? 0 : one * size;
}

static int make_headers(
    struct request *request, const struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer line = {0};
    const struct dmsg_curl *curl = &request->curl;
    dmsg_buffer_format(&line, "X-API-Key: %s", (const char *)publisher->secret.data);
    dmsg_buffer_put_byte(&line, 0);
    if (line.failed)
        return dmsg_fail_memory(error);
    request->headers = curl->curl_slist_append(NULL, (const char *)line.data);
    if (request->headers == NULL ||
        curl->curl_slist_append(request->headers, "Content-Type: application/json") == NULL)
        return dmsg_fail_memory(error);
    return 0;
}

/* The system's CAs as everything else here finds them (SSL_CERT_FILE), and none of libcurl's own.
 */
static int set_trust(struct request *request, struct dmsg_error *error)
{
    const struct dmsg_curl *curl = &request->curl;
    CURL *easy = request->easy;
    if (strncasecmp(request->url, "https:", 6) != 0)
        return 0;
    request->trust.limit = DMSG_TRUST_MAX;
    int result = dmsg_trust_read(&request->trust, error);
    if (result < 0)
        return result;
    struct curl_blob blob = {
        .data = request->trust.data, .len = request->trust.size, .flags = CURL_BLOB_NOCOPY};
    if (curl->curl_easy_setopt(easy, CURLOPT_CAINFO, NULL) != CURLE_OK ||
        curl->curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) != CURLE_OK ||
        curl->curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob) != CURLE_OK)
        return dmsg_fail(error, DMSG_E_INTERNAL, "handing CA certificates to libcurl");
    return 0;
}

static bool set_options(struct request *request)
{
    const struct dmsg_curl *curl = &request->curl;
    CURL *easy = request->easy;
    bool good = curl->curl_easy_setopt(easy, CURLOPT_URL, request->url) == CURLE_OK;
    good &= curl->curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK;
    good &= curl->curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers) == CURLE_OK;
    good &= curl->curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    good &= curl->curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK;
    good &= curl->curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
    good &= curl->curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    good &= curl->curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT) == CURLE_OK;
    good &= curl->curl_easy_setopt(easy, CURLOPT_TIMEOUT, TIMEOUT) == CURLE_OK;
    good &= curl->curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data) == CURLE_OK;
    good &= curl->curl_easy_setopt(easy, CURLOPT_WRITEDATA, &request->answer) == CURLE_OK;
    if (request->body.size > 0) {
        good &= curl->curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.data) == CURLE_OK;
        good &= curl->curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)request->body.size) ==
                CURLE_OK;
    }
    return good;
}

static int perform(
    const struct dmsg_publisher *publisher, struct request *request, struct dmsg_error *error)
{
    int result = dmsg_curl_load(&request->curl, error);
    if (result < 0)
        return result;
    request->easy = request->curl.curl_easy_init();
    result =
        request->easy == NULL ? dmsg_fail_memory(error) : make_headers(request, publisher, error);
    if (result == 0)
        result = set_trust(request, error);
    if (result < 0)
        return result;
    request->answer.limit = ANSWER_MAX;
    if (!set_options(request))
        return dmsg_fail(error, DMSG_E_INTERNAL, "setting up a request to %s", publisher->powerdns);
    CURLcode code = request->curl.curl_easy_perform(request->easy);
    if (request->answer.failed)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the answer of the API at %s is over %d octets, more than records at one name need",
            publisher->powerdns, ANSWER_MAX);
    if (code != CURLE_OK)
        return dmsg_fail(error, DMSG_E_DNS_TEMPORARY, "asking the API at %s: %s%s",
            publisher->powerdns, request->curl.curl_easy_strerror(code),
            code == CURLE_PEER_FAILED_VERIFICATION
                ? " (its certificate must be right for the system's CAs)"
                : "");
    (void)request->curl.curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &request->status);
    end_transfer(request);
    return 0;
}

/* -------------------------------------------------------------------------- what went wrong */

static int fail_status(
    const struct dmsg_publisher *publisher, struct request *request, struct dmsg_error *error)
{
    const char *url = publisher->powerdns;
    struct dmsg_span why = dmsg_api_read_error(&request->answer);
    int size = why.size < 200 ? (int)why.size : 200;
    const char *text = size > 0 ? (const char *)why.data : "";
    switch (request->status) {
    case HTTP_UNAUTHORIZED:
    case HTTP_FORBIDDEN:
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the API at %s does not take the key (HTTP %ld): is it the api-key of the server's "
            "configuration, and is this address in its webserver-allow-from?",
            url, request->status);
    case HTTP_NOT_FOUND:
        return dmsg_fail(error, DMSG_E_LOCAL,
            "there is no PowerDNS API at %s (HTTP 404): give the URL without /api, and see that "
            "api=yes is in the server's configuration",
            url);
    case HTTP_BAD_REQUEST:
    case HTTP_UNPROCESSABLE:
        return dmsg_fail(error, DMSG_E_LOCAL, "the API at %s refused it (HTTP %ld): %.*s", url,
            request->status, size, text);
    default:
        return dmsg_fail(error,
            request->status >= HTTP_SERVER_ERROR ? DMSG_E_DNS_TEMPORARY : DMSG_E_LOCAL,
            "the API at %s failed (HTTP %ld): %.*s", url, request->status, size, text);
    }
}

static int get(
    const struct dmsg_publisher *publisher, struct request *request, struct dmsg_error *error)
{
    request->method = "GET";
    int result = perform(publisher, request, error);
    if (result == 0 && request->status != HTTP_OK)
        result = fail_status(publisher, request, error);
    return result;
}

static int in_answer(const struct dmsg_publisher *publisher, int result, struct dmsg_error *error)
{
    return result == DMSG_E_DNS_TEMPORARY
               ? dmsg_fail_in(error, result, "asking the API at %s", publisher->powerdns)
               : result;
}

/* --------------------------------------------------------------------------------------- asking */

/* Looks whether the server has a zone of this very name. */
static int ask_zone(const struct dmsg_publisher *publisher, const char *name,
    struct dmsg_api_zone *out, struct dmsg_error *error)
{
    DMSG_CLEANUP(end_request) struct request request = {0};
    snprintf(
        request.url, sizeof request.url, "%s" SERVER_PATH "?zone=%s.", publisher->powerdns, name);
    int result = get(publisher, &request, error);
    if (result < 0)
        return result;
    return in_answer(publisher, dmsg_api_read_zone(out, &request.answer, name, error), error);
}

/* The zone with the longest name that the name ends in; *name is set to the zone's. */
static int find_zone(const struct dmsg_publisher *publisher, const char **name,
    struct dmsg_api_zone *zone, struct dmsg_error *error)
{
    const char *asked = *name;
    for (;;) {
        int result = ask_zone(publisher, *name, zone, error);
        if (result < 0)
            return result;
        if (zone->id[0] != '\0')
            break;
        const char *dot = strchr(*name, '.');
        if (dot == NULL)
            return dmsg_fail(error, DMSG_E_LOCAL,
                "the PowerDNS at %s has no zone with %s in it: name the primary server of the zone",
                publisher->powerdns, asked);
        *name = dot + 1;
    }
    if (zone->secondary)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the PowerDNS at %s is a secondary server of the zone %s: name its primary",
            publisher->powerdns, *name);
    return 0;
}

/* The RRsets of a name; those of others are there too where the server knows no filter. */
static int ask_rrsets(const struct dmsg_publisher *publisher, const struct dmsg_api_zone *zone,
    const char *name, struct request *request, struct dmsg_error *error)
{
    snprintf(request->url, sizeof request->url, "%s" SERVER_PATH "/%s?rrset_name=%s.",
        publisher->powerdns, zone->id, name);
    return get(publisher, request, error);
}

static int read_set(const struct dmsg_publisher *publisher, const struct dmsg_api_zone *zone,
    const struct dmsg_name *name, struct dmsg_record_set *out, struct dmsg_error *error)
{
    DMSG_CLEANUP(end_request) struct request request = {0};
    int result = ask_rrsets(publisher, zone, name->text, &request, error);
    if (result < 0)
        return result;
    return in_answer(publisher, dmsg_api_read_records(out, &request.answer, name, error), error);
}

int dmsg_powerdns_read(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    struct dmsg_record_set *out, struct dmsg_error *error)
{
    DMSG_CLEANUP(end_request) struct request request = {0};
    struct dmsg_api_zone zone;
    const char *zone_name = name->text;
    int result = find_zone(publisher, &zone_name, &zone, error);
    if (result == 0)
        result = read_set(publisher, &zone, name, out, error);
    if (result == 0)
        result = ask_rrsets(publisher, &zone, zone_name, &request, error);
    if (result < 0)
        return result;
    result = dmsg_api_read_denial(&out->negative_ttl, &request.answer, zone_name, error);
    return in_answer(publisher, result, error);
}

/* ------------------------------------------------------------------------------------- changing */

static int check_unchanged(const struct dmsg_publisher *publisher, const struct dmsg_api_zone *zone,
    const struct dmsg_name *name, const struct dmsg_record_set *before, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_record_set_done) struct dmsg_record_set now = {0};
    int result = read_set(publisher, zone, name, &now, error);
    if (result < 0)
        return result;
    dmsg_record_set_sort(&now);
    if (!dmsg_record_set_equal(&now, before))
        return dmsg_fail(error, DMSG_E_DNS_TEMPORARY,
            "%s at the PowerDNS at %s: the records changed meanwhile: nothing was changed; run it "
            "again",
            name->text, publisher->powerdns);
    return 0;
}

int dmsg_powerdns_change(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    const struct dmsg_record_set *before, const struct dmsg_record_set *wanted,
    struct dmsg_error *error)
{
    DMSG_CLEANUP(end_request) struct request request = {.method = "PATCH"};
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer body = {0};
    struct dmsg_error why;
    struct dmsg_api_zone zone;
    const char *zone_name = name->text;
    int result = find_zone(publisher, &zone_name, &zone, error);
    if (result == 0)
        result = check_unchanged(publisher, &zone, name, before, error);
    if (result < 0)
        return result;
    dmsg_api_put_change(&body, name, wanted);
    if (body.failed)
        return dmsg_fail_memory(error);
    request.body = dmsg_buffer_span(&body);
    snprintf(request.url, sizeof request.url, "%s" SERVER_PATH "/%s", publisher->powerdns, zone.id);
    result = perform(publisher, &request, &why);
    if (result < 0)
        return dmsg_fail_unsure(error, &why);
    if (request.status == HTTP_NO_CONTENT || request.status == HTTP_OK)
        return 0;
    if (request.status < HTTP_SERVER_ERROR)
        return fail_status(publisher, &request, error);
    (void)!fail_status(publisher, &request, &why); /* perhaps of a proxy that had no patience */
    return dmsg_fail_unsure(error, &why);
}
