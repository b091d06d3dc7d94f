// The benchmark's load: many users of the chat server in one small, single-threaded epoll program.
//
//     load SCENARIO PORT PASSWORD [name=value ...]         (only ever to 127.0.0.1)
//
//   broadcast   `senders` of the `users` online keep `inflight` broadcasts in flight in total, evenly; everybody
//               receives each one, the sender too
//   post        the same with messages in `threads` threads of a forum, one after the other, from t<first> on (t0, t1);
//               all users follow them
//   direct      user 2i sends to user 2i+1, each such pair keeps `inflight` messages in flight; `both`=1: also back
//   pay         each user keeps `inflight` payments of one credit to the next user in flight; everybody's balance must
//               change by one with each reply and each payment that comes
//   latency     the same pairs, an open loop: `rate` messages a second altogether, timed from the moment each was
//               due until it is received, so that a stall is charged to every message it held up
//   login       `concurrency` connections in a loop: connect, hello, SCRAM, logout, end of stream
//   idle        all `users` are logged in and say nothing
//   probe       the pairs keep `inflight` messages in flight; beside them, every `interval` microseconds, one new
//               connection says hello, and one that is open asks `whoelse`: does a slow disk hold up either?
//
// A request is in flight until its reply is read. It runs for `seconds` or `count` messages (logins), whichever is
// first, waits for all that is under way, prints one line of JSON, and keeps its connections until its input ends (so
// that their end is not measured). First it logs its users in, prints "begin" and waits for a line.
//
// Everything is checked: each delivery's `seq` grows on its connection, the sender's counter in the text is the next
// one, replies come in the order of the requests and say OK, the counts add up, and nothing comes afterwards.
// Whatever is not as expected ends the program with a sentence and status 1; so does the deadline.
//
//     load transfer PORT up|down:TICKET:OFFSET:SIZE ...    (a file's bytes, from OFFSET to the end; all at once)
//
// A file's content is a pattern that the position alone tells. It is sent from memory; what comes is discarded in the
// kernel, but for spot checks: copying it would be the bottleneck. It is over when each upload has its OK and each
// download its last byte. Printed: the seconds from the first connect; for each transfer the bytes `moved`, those that
// it had moved when the first of them was through (`meanwhile`), the seconds until the other kernel had acknowledged
// the last byte (`taken`), and until it was over (`ended`).

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define NEVER UINT64_MAX

static struct {
    long users, senders, inflight, threads, first, both, keys, rate, interval, count, seconds, concurrency, text, deadline;
} opt = {.users = 100, .senders = 1, .inflight = 1, .threads = 1, .rate = 1000, .interval = 5000, .seconds = 4,
         .concurrency = 32, .text = 64, .deadline = 120};

static const struct { const char *name; long *value; } OPTIONS[] = {
    {"users", &opt.users}, {"senders", &opt.senders}, {"inflight", &opt.inflight}, {"both", &opt.both},
    {"threads", &opt.threads}, {"first", &opt.first},
    {"keys", &opt.keys}, {"rate", &opt.rate}, {"interval", &opt.interval}, {"count", &opt.count},
    {"seconds", &opt.seconds}, {"concurrency", &opt.concurrency}, {"text", &opt.text}, {"deadline", &opt.deadline},
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void *need(void *memory) {
    if (!memory) die("out of memory");
    return memory;
}

// ---- SHA-256, HMAC, PBKDF2, base64: what SCRAM takes ---------------------------------------------------------------

typedef struct { uint32_t h[8]; uint8_t block[64]; uint64_t length; } Sha;

static uint32_t K[64];

static uint32_t fraction(double root) { return (uint32_t)((root - (double)(uint64_t)root) * 4294967296.0); }

static double root_of(double n, int degree) {  // Newton's, so that libm is not needed
    double x = n;
    for (int i = 0; i < 200; i++) x -= degree == 2 ? (x * x - n) / (2 * x) : (x * x * x - n) / (3 * x * x);
    return x;
}

static Sha sha_start;

static void sha_tables(void) {  // the constants are the fractions of the first primes' square and cube roots
    for (int n = 2, found = 0; found < 64; n++) {
        bool prime = true;
        for (int d = 2; d * d <= n; d++) prime &= n % d != 0;
        if (!prime) continue;
        if (found < 8) sha_start.h[found] = fraction(root_of(n, 2));
        K[found++] = fraction(root_of(n, 3));
    }
}

static uint32_t ror(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void sha_block(Sha *s) {
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++) {
        const uint8_t *b = s->block + 4 * i;
        w[i] = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    }
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(v, s->h, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t a = v[0], e = v[4];
        uint32_t t = v[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + K[i] + w[i];
        uint32_t u = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[0] = t + u;
        v[4] += t;
    }
    for (int i = 0; i < 8; i++) s->h[i] += v[i];
}

static void sha_add(Sha *s, const void *bytes, size_t length) {
    for (const uint8_t *p = bytes; length--; p++) {
        s->block[s->length++ % 64] = *p;
        if (s->length % 64 == 0) sha_block(s);
    }
}

static void sha_end(Sha *s, uint8_t digest[32]) {
    uint64_t bits = s->length * 8;
    sha_add(s, "\x80", 1);
    while (s->length % 64 != 56) sha_add(s, "", 1);
    for (int i = 7; i >= 0; i--) sha_add(s, &(uint8_t){(uint8_t)(bits >> 8 * i)}, 1);
    for (int i = 0; i < 32; i++) digest[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

static void hmac(const void *key, size_t key_length, const void *text, size_t length, uint8_t digest[32]) {
    uint8_t inner[64] = {0}, outer[64];  // no key here is longer than a block
    memcpy(inner, key, key_length);
    for (int i = 0; i < 64; i++) outer[i] = inner[i] ^ 0x5c, inner[i] ^= 0x36;
    Sha s = sha_start;
    sha_add(&s, inner, 64), sha_add(&s, text, length), sha_end(&s, digest);
    s = sha_start;
    sha_add(&s, outer, 64), sha_add(&s, digest, 32), sha_end(&s, digest);
}

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void base64_of_digest(const uint8_t digest[32], char out[45]) {  // 32 bytes: 10 threes and a two
    for (int i = 0, o = 0; i < 33; i += 3, o += 4) {
        uint32_t three = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | (i + 2 < 32 ? digest[i + 2] : 0);
        for (int k = 0; k < 4; k++) out[o + k] = BASE64[three >> (18 - 6 * k) & 63];
    }
    out[43] = '=', out[44] = 0;
}

static size_t base64_decode(const char *text, size_t length, uint8_t *out) {
    uint32_t bits = 0;
    size_t n = 0;
    for (size_t i = 0, have = 0; i < length && text[i] != '='; i++) {
        const char *digit = strchr(BASE64, text[i]);
        if (!digit) die("the salt is not base64");
        bits = bits << 6 | (uint32_t)(digit - BASE64), have += 6;
        if (have >= 8) have -= 8, out[n++] = (uint8_t)(bits >> have);
    }
    return n;
}

// The keys of one (salt, iterations): users who share them share the one costly computation.
static struct { char parameters[160]; uint8_t client[32], stored[32], server[32]; } keys;

static void derive_keys(const char *password, const char *parameters) {  // parameters: "s=<base64>,i=<number>"
    if (!strcmp(parameters, keys.parameters)) return;
    const char *salt = parameters + 2, *comma = strchr(parameters, ',');
    long iterations = comma ? atol(comma + 3) : 0;
    if (strlen(parameters) >= sizeof keys.parameters || iterations < 4096 || comma - salt > 88)
        die("challenge: %s", parameters);
    uint8_t u[96], salted[32];
    size_t n = base64_decode(salt, (size_t)(comma - salt), u);
    memcpy(u + n, "\0\0\0\1", 4);
    hmac(password, strlen(password), u, n + 4, u);
    memcpy(salted, u, 32);
    for (long i = 1; i < iterations; i++) {
        hmac(password, strlen(password), u, 32, u);
        for (int k = 0; k < 32; k++) salted[k] ^= u[k];
    }
    hmac(salted, 32, "Client Key", 10, keys.client);
    hmac(salted, 32, "Server Key", 10, keys.server);
    Sha s = sha_start;
    sha_add(&s, keys.client, 32), sha_end(&s, keys.stored);
    strcpy(keys.parameters, parameters);
}

// ---- A line of JSON: one flat object without spaces; only the fields that matter are kept ---------------------------

typedef struct { const char *at; size_t length; } Span;
enum { EVENT, STATUS, ID, SEQ, TEXT, DELIVERED, OFFLINE, SCRAM, MEMO, BALANCE, AMOUNT, FIELDS };
#define NAME(text) {text, sizeof text - 1}
static const Span NAMES[FIELDS] = {NAME("event"), NAME("status"), NAME("id"), NAME("seq"),
                                   NAME("text"), NAME("delivered"), NAME("offline"), NAME("scram"),
                                   NAME("memo"), NAME("balance"), NAME("amount")};
typedef struct { Span whole, field[FIELDS]; } Line;

static bool is(Span s, const char *text) { return s.length == strlen(text) && !memcmp(s.at, text, s.length); }

__attribute__((noreturn)) static void reject(const char *why, Span line) {
    die("%s: %.*s", why, (int)line.length, line.at);
}

static uint64_t number(Span s) {
    uint64_t n = 0;
    for (size_t i = 0; i < s.length; i++) {
        if (s.at[i] < '0' || s.at[i] > '9') reject("not a whole number", s);
        n = n * 10 + (uint64_t)(s.at[i] - '0');
    }
    if (!s.length) die("a number is missing");
    return n;
}

static const char *end_of_string(const char *p, const char *end) {  // p is behind the opening quote
    for (; p < end && *p != '"'; p++) p += *p == '\\';
    return p;
}

static const char *end_of_value(const char *p, const char *end) {
    int depth = 0;
    for (; p < end && (depth || (*p != ',' && *p != '}')); p++) {
        if (*p == '"') p = end_of_string(p + 1, end);
        else if (*p == '[' || *p == '{') depth++;
        else if (*p == ']' || *p == '}') depth--;
    }
    return p;
}

static Line parse(const char *p, const char *end) {  // end points at the newline
    Line line = {.whole = {p, (size_t)(end - p)}};
    if (*p != '{') reject("no object", line.whole);
    while (p + 1 < end) {
        const char *name = p + 2, *name_end = end_of_string(name, end), *value = name_end + 2;
        if (p[1] != '"' || value >= end || name_end[1] != ':') reject("malformed", line.whole);
        p = end_of_value(value, end);
        Span key = {name, (size_t)(name_end - name)};
        Span found = *value == '"' ? (Span){value + 1, (size_t)(p - value - 2)} : (Span){value, (size_t)(p - value)};
        for (int f = 0; f < FIELDS; f++)
            if (key.length == NAMES[f].length && !memcmp(key.at, NAMES[f].at, key.length)) line.field[f] = found;
    }
    if (p >= end || *p != '}') reject("malformed", line.whole);
    return line;
}

// ---- Connections ----------------------------------------------------------------------------------------------------

typedef enum { FREE, GREETING, PROVING, PROVEN, ONLINE, LEAVING } State;

typedef struct {
    int fd;
    State state;
    long user;  // -1: a probe, which leaves after hello
    bool dirty, blocked;
    uint64_t opened, sent, replied, seq, balance;
    uint32_t *next;  // the next counter expected from each sender
    uint64_t received;
    char *part, *out;  // an incomplete line; what is to be sent
    size_t part_length, out_length, out_size;
    char nonce[33], signature[45];
} Conn;

static const char *password;
static struct sockaddr_in address = {.sin_family = AF_INET};
static int poller;
static Conn *conns;          // the users in their order, then room for probes
static size_t room;          // of conns
static Conn **dirty;         // who has something to be sent at the end of this turn
static size_t dirty_count;
static uint64_t now, last_input, stop_at;
static uint64_t sent, replied, received;  // totals of the measured phase
static bool stopping;

static void queue(Conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void queue(Conn *c, const char *format, ...) {
    va_list arguments;
    if (c->out_size - c->out_length < 8192) c->out = need(realloc(c->out, c->out_size += 16384));
    va_start(arguments, format);
    int n = vsnprintf(c->out + c->out_length, c->out_size - c->out_length, format, arguments);
    va_end(arguments);
    if (n < 0 || (size_t)n >= c->out_size - c->out_length) die("a request is too long");
    c->out_length += (size_t)n;
    if (!c->dirty) c->dirty = true, dirty[dirty_count++] = c;
}

static void watch(Conn *c, int operation) {
    struct epoll_event event = {.events = EPOLLIN | (c->blocked ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

static void flush(Conn *c) {
    ssize_t n = c->out_length ? send(c->fd, c->out, c->out_length, MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN) die("send: %s", strerror(errno));
    if (n > 0) memmove(c->out, c->out + n, c->out_length -= (size_t)n);
    if (c->blocked != (c->out_length > 0)) c->blocked = c->out_length > 0, watch(c, EPOLL_CTL_MOD);
}

static Conn *open_connection(Conn *c, long user) {
    uint8_t random[16];
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    if (getrandom(random, sizeof random, 0) != sizeof random) die("getrandom: %s", strerror(errno));
    for (int i = 0; i < 16; i++) sprintf(c->nonce + 2 * i, "%02x", random[i]);
    c->state = GREETING, c->user = user, c->opened = clock_ns(), c->blocked = false;
    watch(c, EPOLL_CTL_ADD);
    queue(c, "{\"action\":\"hello\",\"protocol\":1}\n");
    return c;
}

static void close_connection(Conn *c) {
    close(c->fd);
    c->state = FREE;
    c->part_length = c->out_length = 0;
}

static void prove(Conn *c, Span challenge) {  // r=<nonce>,s=<salt>,i=<iterations>
    char text[512], auth[1024], plain[512], proof[45];
    uint8_t digest[32];
    if (challenge.length >= sizeof text / 2) die("the challenge is too long");
    memcpy(text, challenge.at, challenge.length), text[challenge.length] = 0;
    char *parameters = strchr(text, ',');
    if (!parameters || strncmp(text + 2, c->nonce, 32)) die("challenge: %s", text);
    derive_keys(password, parameters + 1);
    snprintf(plain, sizeof plain, "c=biws,%.*s", (int)(parameters - text), text);
    int n = snprintf(auth, sizeof auth, "n=u%05ld,r=%s,%s,%s", c->user, c->nonce, text, plain);
    hmac(keys.server, 32, auth, (size_t)n, digest);
    base64_of_digest(digest, c->signature);
    hmac(keys.stored, 32, auth, (size_t)n, digest);
    for (int i = 0; i < 32; i++) digest[i] ^= keys.client[i];
    base64_of_digest(digest, proof);
    queue(c, "{\"action\":\"login\",\"scram\":\"%s,p=%s\"}\n", plain, proof);
}

// ---- Measured: messages and samples of time -------------------------------------------------------------------------

typedef struct { const char *name; uint64_t *ns; size_t count, size; } Samples;

static void sample(Samples *s, uint64_t ns) {
    if (s->count == s->size) s->ns = need(realloc(s->ns, (s->size = s->size * 2 + 1024) * sizeof *s->ns));
    s->ns[s->count++] = ns;
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void report(Samples *s) {
    if (!s->count) return;
    qsort(s->ns, s->count, sizeof *s->ns, by_size);
    static const struct { const char *name; double share; } POINTS[] = {
        {"p50", .5}, {"p90", .9}, {"p99", .99}, {"max", 1}};
    printf(",\"%s\":{\"count\":%zu", s->name, s->count);
    for (size_t i = 0; i < 4; i++)
        printf(",\"%s\":%.4f", POINTS[i].name, (double)s->ns[(size_t)((double)(s->count - 1) * POINTS[i].share)] / 1e6);
    printf("}");
}

static Samples delivery_ms = {.name = "delivery_ms"}, login_ms = {.name = "login_ms"}, hello_ms = {.name = "hello_ms"},
               whoelse_ms = {.name = "whoelse_ms"};

enum { RING = 4096 };  // more than any connection has in flight

static bool enough(void) {
    stopping |= now >= stop_at || (opt.count && sent >= (uint64_t)opt.count);
    return stopping;
}

// The text: sender, its counter, when it was due; padded to the size wanted.
static void send_text(Conn *c, const char *head, uint64_t due) {
    char text[4097], key[64] = "";
    int n = snprintf(text, sizeof text, "%06ld %010llu %020llu ", c->user, (unsigned long long)c->sent,
                     (unsigned long long)due);
    memset(text + n, 'x', sizeof text - (size_t)n);
    if (opt.keys) snprintf(key, sizeof key, "\"key\":\"%s-%llu\",", c->nonce, (unsigned long long)c->sent);
    queue(c, "{%s,%s\"id\":%llu,\"text\":\"%.*s\"}\n", head, key, (unsigned long long)c->sent, (int)opt.text, text);
    c->sent++, sent++;
}

static void send_broadcast(Conn *c) { send_text(c, "\"action\":\"broadcast\"", clock_ns()); }

static void send_post(Conn *c) {
    char head[64];
    unsigned long long thread = (uint64_t)opt.first + sent % (uint64_t)opt.threads;
    snprintf(head, sizeof head, "\"action\":\"msg\",\"title\":\"t%llu\"", thread);
    send_text(c, head, clock_ns());
}

static void send_direct(Conn *c, uint64_t due) {
    char head[64];
    snprintf(head, sizeof head, "\"action\":\"message\",\"to\":\"u%05ld\"", c->user ^ 1);
    send_text(c, head, due);
}

typedef struct { uint64_t index, seq, due; long sender; uint32_t counter; size_t length; char bytes[232]; } Delivery;

static Delivery delivery_of(const Line *line) {
    Span text = line->field[TEXT];
    if (text.length != (size_t)opt.text || line->field[OFFLINE].at) reject("delivered", line->whole);
    return (Delivery){.seq = number(line->field[SEQ]), .sender = (long)number((Span){text.at, 6}),
                      .counter = (uint32_t)number((Span){text.at + 7, 10}), .due = number((Span){text.at + 18, 20})};
}

static void check_delivery(Conn *c, const Delivery *d, long slot) {
    if (d->seq <= c->seq)
        die("u%05ld: seq %llu after %llu", c->user, (unsigned long long)d->seq, (unsigned long long)c->seq);
    if (d->counter != c->next[slot])
        die("u%05ld: message %u of u%05ld came where %u was due", c->user, d->counter, d->sender, c->next[slot]);
    c->seq = d->seq, c->next[slot]++, c->received++, received++;
}

// ---- Scenarios: what is sent first, at a time, upon a reply; what a delivery means; when it is over -----------------

typedef struct {
    const char *name;
    bool no_users;                               // nobody is logged in before it begins
    void (*start)(void);
    uint64_t (*tick)(void);                      // sends what is due; when it wants to be called next
    void (*reply)(Conn *, const Line *);
    void (*deliver)(Conn *, const Line *);
    bool (*done)(void);
} Scenario;

static const Scenario *scenario;

static uint64_t no_tick(void) { return stopping ? NEVER : stop_at; }

// broadcast. Everybody is sent the same bytes in the same order, so a line is parsed for the first who gets it and
// compared for the others; what it says is checked for each.
static Delivery seen[RING];

static void send_to_all(Conn *c) { (strcmp(scenario->name, "post") ? send_broadcast : send_post)(c); }

static void broadcast_start(void) {
    if (opt.senders > opt.users || opt.inflight % opt.senders) die("inflight must be a multiple of senders");
    for (long s = 0; s < opt.senders; s++)
        for (long i = 0; i < opt.inflight / opt.senders; i++) send_to_all(&conns[s]);
}

static void broadcast_reply(Conn *c, const Line *line) {
    (void)line;
    replied++;
    if (!enough()) send_to_all(c);
}

static void broadcast_deliver(Conn *c, const Line *line) {
    Delivery d = delivery_of(line);
    if (d.sender >= opt.senders) die("u%05ld does not send", d.sender);
    d.index = c->received + 1, d.length = line->whole.length + 1;  // index 0: an empty place
    if (d.length <= sizeof d.bytes) memcpy(d.bytes, line->whole.at, d.length), seen[c->received % RING] = d;
    check_delivery(c, &d, d.sender);
}

// The length of the line at p if it is one that was parsed already, else 0.
static size_t seen_before(Conn *c, const char *p, const char *end) {
    const Delivery *d = &seen[c->received % RING];
    if (d->index != c->received + 1 || (size_t)(end - p) < d->length || memcmp(p, d->bytes, d->length)) return 0;
    check_delivery(c, d, d->sender);
    return d->length;
}

static bool broadcast_done(void) { return enough() && replied == sent && received == sent * (uint64_t)opt.users; }

// direct
static void direct_start(void) {
    for (long u = 0; u < opt.users - opt.users % 2; u += opt.both ? 1 : 2)
        for (long i = 0; i < opt.inflight; i++) send_direct(&conns[u], clock_ns());
}

static void direct_reply(Conn *c, const Line *line) {
    if (!is(line->field[DELIVERED], "true")) reject("not delivered", line->whole);
    replied++;
    if (!enough()) send_direct(c, now);
}

static void direct_deliver(Conn *c, const Line *line) {
    Delivery d = delivery_of(line);
    if (d.sender != (c->user ^ 1)) die("u%05ld got a message of u%05ld", c->user, d.sender);
    check_delivery(c, &d, 0);
    sample(&delivery_ms, now - d.due);
}

static bool direct_done(void) { return enough() && replied == sent && received == sent; }

// pay
static void send_payment(Conn *c) {
    unsigned long long counter = c->sent++;
    sent++;
    queue(c, "{\"action\":\"pay\",\"id\":%llu,\"key\":\"%s-%llu\",\"to\":\"u%05ld\",\"amount\":1,"
          "\"memo\":\"%06ld %010llu\"}\n", counter, c->nonce, counter, (c->user + 1) % opt.users, c->user,
          counter);
}

static void pay_start(void) {
    for (long u = 0; u < opt.users; u++)
        for (long i = 0; i < opt.inflight; i++) send_payment(&conns[u]);
}

static void check_balance(Conn *c, const Line *line, uint64_t change) {
    uint64_t seq = number(line->field[SEQ]), balance = number(line->field[BALANCE]);
    if (seq <= c->seq) die("u%05ld: seq %llu after %llu", c->user, (unsigned long long)seq, (unsigned long long)c->seq);
    if (c->balance && balance != c->balance + change) reject("another balance is due", line->whole);
    c->seq = seq, c->balance = balance;
}

static void pay_reply(Conn *c, const Line *line) {
    check_balance(c, line, (uint64_t)-1);
    replied++;
    if (!enough()) send_payment(c);
}

static void pay_deliver(Conn *c, const Line *line) {
    Span memo = line->field[MEMO];
    if (memo.length != 17 || number(line->field[AMOUNT]) != 1 || line->field[OFFLINE].at) reject("paid", line->whole);
    if ((long)number((Span){memo.at, 6}) != (c->user + opt.users - 1) % opt.users) reject("whose?", line->whole);
    if ((uint32_t)number((Span){memo.at + 7, 10}) != c->next[0]++) reject("another one is due", line->whole);
    check_balance(c, line, 1);
    c->received++, received++;
}

// latency
static uint64_t due;

static void latency_start(void) { due = now; }

static uint64_t latency_tick(void) {
    for (; due <= now && !enough(); due += SECOND / (uint64_t)opt.rate)
        send_direct(&conns[2 * (sent % (uint64_t)(opt.users / 2))], due);
    return stopping ? NEVER : due;
}

static void latency_reply(Conn *c, const Line *line) { (void)c, (void)line, replied++; }

// login: connection i serves the users i, i + concurrency, ...: never one twice at a time
static void login_start(void) {
    for (long i = 0; i < opt.concurrency; i++) open_connection(&conns[i], i);
}

static void login_closed(Conn *c) {
    long user = c->user + opt.concurrency;
    replied++;
    close_connection(c);
    if (!enough()) open_connection(c, user < opt.users ? user : user % opt.concurrency);
}

static bool login_done(void) {
    for (long i = 0; i < opt.concurrency; i++)
        if (conns[i].state != FREE) return false;
    return true;
}

// idle
static void idle_start(void) {}
static bool idle_done(void) { return enough(); }

// probe: the last user asks whoelse; the pairs are the others
static uint64_t answered_probes, sent_probes, asked_at[RING];

static void probe_start(void) {
    if (opt.users % 2 == 0) die("probe takes pairs and one user more");
    due = now;
    direct_start();
}

static uint64_t probe_tick(void) {
    Conn *asker = &conns[opt.users - 1], *free_conn = &conns[opt.users];
    for (; due <= now && !enough(); due += (uint64_t)opt.interval * 1000) {
        while (free_conn->state != FREE)
            if (++free_conn == conns + room) die("too many probes are unanswered");
        open_connection(free_conn, -1);
        asked_at[asker->sent % RING] = clock_ns();
        queue(asker, "{\"action\":\"whoelse\",\"id\":%llu}\n", (unsigned long long)asker->sent++);
        sent_probes += 2;
    }
    return stopping ? NEVER : due;
}

static void probe_reply(Conn *c, const Line *line) {
    if (c->user != opt.users - 1) {
        direct_reply(c, line);
        return;
    }
    sample(&whoelse_ms, now - asked_at[(c->replied - 1) % RING]);
    answered_probes++;
}

static bool probe_done(void) { return direct_done() && answered_probes == sent_probes; }

static const Scenario SCENARIOS[] = {
    {"broadcast", false, broadcast_start, no_tick, broadcast_reply, broadcast_deliver, broadcast_done},
    {"post", false, broadcast_start, no_tick, broadcast_reply, broadcast_deliver, broadcast_done},
    {"direct", false, direct_start, no_tick, direct_reply, direct_deliver, direct_done},
    {"pay", false, pay_start, no_tick, pay_reply, pay_deliver, direct_done},
    {"latency", false, latency_start, latency_tick, latency_reply, direct_deliver, direct_done},
    {"login", true, login_start, no_tick, NULL, NULL, login_done},
    {"idle", false, idle_start, no_tick, NULL, NULL, idle_done},
    {"probe", false, probe_start, probe_tick, probe_reply, direct_deliver, probe_done},
};

// ---- What a line means ----------------------------------------------------------------------------------------------

static long joining, joined;  // while the users come in: how many have begun, how many are in
static bool measuring;

static void join_next(void) {
    if (joining < opt.users) open_connection(&conns[joining], joining), joining++;
}

static void on_login(Conn *c, const Line *line) {
    Span answer = line->field[SCRAM];
    if (answer.length != 46 || memcmp(answer.at + 2, c->signature, 44)) die("the server does not know the verifier");
    c->state = ONLINE;
    if (!scenario->no_users) {
        joined++;
        join_next();
        return;
    }
    sample(&login_ms, now - c->opened);
    sent++;
    c->state = LEAVING;
    queue(c, "{\"action\":\"logout\"}\n");
}

static void on_reply(Conn *c, const Line *line) {
    if (!is(line->field[STATUS], c->state == PROVING ? "CONTINUE" : "OK"))
        reject("refused", line->whole);
    switch (c->state) {
    case GREETING:
        if (c->user < 0) {
            sample(&hello_ms, now - c->opened);
            answered_probes++;
            close_connection(c);
            break;
        }
        c->state = PROVING;
        queue(c, "{\"action\":\"login\",\"scram\":\"n,,n=u%05ld,r=%s\"}\n", c->user, c->nonce);
        break;
    case PROVING:
        c->state = PROVEN;
        prove(c, line->field[SCRAM]);
        break;
    case PROVEN:
        on_login(c, line);
        break;
    case ONLINE:
        if (number(line->field[ID]) != c->replied) reject("a reply out of order", line->whole);
        c->replied++;
        scenario->reply(c, line);
        break;
    default:
        break;  // to logout
    }
}

static void on_line(Conn *c, const char *p, const char *end) {
    Line line = parse(p, end);
    Span event = line.field[EVENT];
    if (!event.at)
        on_reply(c, &line);
    else if ((is(event, "message") || is(event, "broadcast") || is(event, "post") || is(event, "payment")) && measuring &&
             scenario->deliver)
        scenario->deliver(c, &line);
    else if (!is(event, "presence") && !is(event, "notice") && !(is(event, "bye") && c->state == LEAVING))
        reject("not expected", line.whole);
}

static void on_input(Conn *c) {
    static char buffer[1 << 18];
    if (c->part_length) memcpy(buffer, c->part, c->part_length);
    ssize_t n = recv(c->fd, buffer + c->part_length, sizeof buffer - c->part_length, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n == 0 && c->state == LEAVING) {
        login_closed(c);
        return;
    }
    if (n <= 0) die("u%05ld: the server closed the connection (%s)", c->user, n ? strerror(errno) : "end of stream");
    now = last_input = clock_ns();
    char *p = buffer, *end = buffer + c->part_length + (size_t)n, *newline;
    c->part_length = 0;
    for (size_t length; p < end; p += length) {
        if ((length = seen_before(c, p, end))) continue;
        if (!(newline = memchr(p, '\n', (size_t)(end - p)))) break;
        length = (size_t)(newline - p) + 1;
        on_line(c, p, newline);
        if (c->state == FREE) return;
    }
    c->part_length = (size_t)(end - p);
    if (c->part_length > 65536) die("a line of more than 65,536 bytes");
    if (c->part_length) memcpy(c->part = need(realloc(c->part, c->part_length)), p, c->part_length);
}

// ---- The loop -------------------------------------------------------------------------------------------------------

// One turn: send what is queued (each connection's in one piece), wait until `wake`, take in what has come.
static void turn(uint64_t wake, uint64_t deadline) {
    static struct epoll_event events[512];
    for (size_t i = 0; i < dirty_count; i++) dirty[i]->dirty = false, flush(dirty[i]);
    dirty_count = 0;
    now = clock_ns();
    if (now > deadline)
        die("deadline: %llu sent, %llu replied, %llu received, %ld of %ld joined", (unsigned long long)sent,
            (unsigned long long)replied, (unsigned long long)received, joined, opt.users);
    uint64_t rest = wake <= now ? 0 : (wake < deadline ? wake : deadline) - now;
    struct timespec patience = {(time_t)(rest / SECOND), (long)(rest % SECOND)};
    int n = epoll_pwait2(poller, events, 512, &patience, NULL);
    if (n < 0 && errno != EINTR) die("epoll_pwait2: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        Conn *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) flush(c);
        if (events[i].events & ~(uint32_t)EPOLLOUT) on_input(c);
    }
    now = clock_ns();
}

static void quiet(uint64_t ns, uint64_t deadline) {  // until nothing has come for so long
    for (last_input = now; now - last_input < ns;) turn(last_input + ns, deadline);
}

static void join_all(uint64_t deadline) {
    for (long i = 0; i < opt.concurrency; i++) join_next();
    while (joined < opt.users) turn(NEVER, deadline);
}

static double measure(uint64_t deadline) {
    uint64_t began = now = clock_ns();
    stop_at = began + (uint64_t)opt.seconds * SECOND;
    measuring = true;
    scenario->start();
    while (!scenario->done()) turn(scenario->tick(), deadline);
    uint64_t took = now - began, total = received;
    quiet(SECOND / 20, deadline);
    if (received != total) die("%llu deliveries too many", (unsigned long long)(received - total));
    return (double)took / 1e9;
}

static void options(int count, char **words) {
    for (int i = 0; i < count; i++) {
        char *value = strchr(words[i], '=');
        size_t o = 0, known = sizeof OPTIONS / sizeof *OPTIONS;
        while (o < known && value && strncmp(words[i], OPTIONS[o].name, (size_t)(value - words[i]))) o++;
        if (!value || o == known) die("unknown option: %s", words[i]);
        *OPTIONS[o].value = atol(value + 1);
    }
    if (opt.text < 40 || opt.text > 4096) die("text must be 40 to 4096");
}

static void prepare(const char *port) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul);
    address.sin_port = htons((uint16_t)atoi(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sha_tables();
    room = (size_t)opt.users + 1000;
    conns = need(calloc(room, sizeof *conns));
    dirty = need(calloc(room, sizeof(Conn *)));
    for (long u = 0; u < opt.users; u++) conns[u].next = need(calloc((size_t)opt.senders, sizeof(uint32_t)));
    if ((poller = epoll_create1(0)) < 0) die("epoll_create1: %s", strerror(errno));
}

// ---- Transfers ------------------------------------------------------------------------------------------------------

enum { PERIOD = 1 << 20, PIECE = 256 << 10, PROBE = 4096, AT_ONCE = 64, PATIENCE = 60 };

typedef struct {
    int fd;
    bool up;
    long from, at, size, meanwhile, reads;
    double taken, ended;
    char line[512];  // the server's answer
    size_t length;
} Transfer;

static Transfer transfers[AT_ONCE];
static int transfer_count;
static uint64_t transfers_began;
static uint8_t pattern[PERIOD + PIECE];  // the period, and what a piece at its end needs

static double transfer_clock(void) { return (double)(clock_ns() - transfers_began) / 1e9; }

static void make_pattern(void) {
    for (uint32_t i = 0; i < sizeof pattern / 4; i++) {
        uint32_t word = i % (PERIOD / 4) * 2654435761u;
        memcpy(pattern + 4 * i, &word, 4);
    }
}

static void transfer_open(Transfer *t, const char *words) {
    char request[256], way[8], ticket[64];
    if (sscanf(words, "%7[a-z]:%63[^:]:%ld:%ld", way, ticket, &t->from, &t->size) != 4) die("transfer: %s", words);
    t->up = !strcmp(way, "up"), t->at = t->from;
    if ((t->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0) die("socket: %s", strerror(errno));
    setsockopt(t->fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = PATIENCE}, sizeof(struct timeval));
    if (connect(t->fd, (struct sockaddr *)&address, sizeof address)) die("connect: %s", strerror(errno));
    int n = snprintf(request, sizeof request, "{\"action\":\"%sload\",\"ticket\":\"%s\",\"offset\":%ld}\n", way,
                     ticket, t->from);
    if (send(t->fd, request, (size_t)n, MSG_NOSIGNAL) != n) die("send: %s", strerror(errno));
    struct epoll_event event = {.events = t->up ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = t};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, t->fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

static void transfer_answer(Transfer *t) {  // byte by byte: what follows the line is the file
    do {
        if (t->length == sizeof t->line - 1) die("the server's answer is too long");
        ssize_t n = recv(t->fd, t->line + t->length, 1, 0);
        if (n <= 0) die("the server ended a transfer (%s)", n ? strerror(errno) : "end of stream");
        t->length++;
    } while (t->line[t->length - 1] != '\n');
    if (!strstr(t->line, "\"OK\"") || (t->up && t->at < t->size)) die("refused: %s", t->line);
    if (t->up) t->ended = transfer_clock();
}

static void transfer_receive(Transfer *t) {
    static uint8_t buffer[PIECE];
    if (!t->length) transfer_answer(t);
    bool probe = t->reads++ % 16 == 0 || t->at + PROBE >= t->size;
    ssize_t n = recv(t->fd, buffer, probe ? PROBE : PIECE, probe ? MSG_DONTWAIT : MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die("a download ended at %ld (%s)", t->at, n ? strerror(errno) : "end of stream");
    if (probe && memcmp(buffer, pattern + t->at % PERIOD, (size_t)n)) die("wrong bytes at %ld", t->at);
    if ((t->at += n) > t->size) die("a download of %ld bytes has %ld", t->size, t->at);
    if (t->at == t->size) t->taken = t->ended = transfer_clock();
}

static void transfer_send(Transfer *t) {
    long rest = t->size - t->at;
    ssize_t n = send(t->fd, pattern + t->at % PERIOD, rest < PIECE ? (size_t)rest : PIECE, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) die("an upload ended at %ld (%s)", t->at, strerror(errno));
    if (n > 0) t->at += n;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = t};
    if (t->at == t->size) epoll_ctl(poller, EPOLL_CTL_MOD, t->fd, &event);
}

static void transfer_step(Transfer *t, uint32_t events) {
    static bool one_is_through;
    if (events & EPOLLOUT) transfer_send(t);
    if (events & ~(uint32_t)EPOLLOUT) t->up ? transfer_answer(t) : transfer_receive(t);
    if (t->ended) epoll_ctl(poller, EPOLL_CTL_DEL, t->fd, NULL), close(t->fd);
    if (t->at < t->size || one_is_through) return;
    one_is_through = true;
    for (int i = 0; i < transfer_count; i++) transfers[i].meanwhile = transfers[i].at - transfers[i].from;
}

// Notes what has been acknowledged. How long to wait for events: shortly while there is something to be noted.
static int transfers_look(void) {
    int patience = PATIENCE * 1000, unacknowledged;
    for (Transfer *t = transfers; t < transfers + transfer_count; t++) {
        if (!t->up || t->at < t->size || t->taken) continue;
        if (!t->ended && ioctl(t->fd, SIOCOUTQ, &unacknowledged)) die("SIOCOUTQ: %s", strerror(errno));
        if (t->ended || !unacknowledged) t->taken = transfer_clock();
        else patience = 1;
    }
    return patience;
}

static int transfers_done(void) {
    int done = 0;
    for (int i = 0; i < transfer_count; i++) done += transfers[i].ended > 0;
    return done;
}

static void transfer_all(int count, char **words) {
    struct epoll_event events[AT_ONCE];
    if (count > AT_ONCE) die("%d transfers are too many", count);
    make_pattern();
    if ((poller = epoll_create1(0)) < 0) die("epoll_create1: %s", strerror(errno));
    transfers_began = clock_ns();
    for (; transfer_count < count; transfer_count++) transfer_open(&transfers[transfer_count], words[transfer_count]);
    for (int n, patience = 0; transfers_done() < count;) {
        if (!(n = epoll_wait(poller, events, AT_ONCE, patience)) && patience > 1) die("nothing moves any more");
        for (int i = 0; i < n; i++) transfer_step(events[i].data.ptr, events[i].events);
        patience = transfers_look();
    }
    printf("{\"seconds\":%.6f,\"transfers\":[", transfer_clock());
    for (Transfer *t = transfers; t < transfers + count; t++)
        printf("%s{\"moved\":%ld,\"meanwhile\":%ld,\"taken\":%.6f,\"ended\":%.6f}", t == transfers ? "" : ",",
               t->at - t->from, t->meanwhile, t->taken, t->ended);
    puts("]}");
}

int main(int count, char **words) {
    char go[16];
    if (count > 3 && !strcmp(words[1], "transfer")) {
        address.sin_port = htons((uint16_t)atoi(words[2]));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        transfer_all(count - 3, words + 3);
        return 0;
    }
    if (count < 4) die("load SCENARIO PORT PASSWORD [name=value ...]");
    for (size_t i = 0; i < sizeof SCENARIOS / sizeof *SCENARIOS; i++)
        if (!strcmp(words[1], SCENARIOS[i].name)) scenario = &SCENARIOS[i];
    if (!scenario) die("unknown scenario: %s", words[1]);
    password = words[3];
    options(count - 4, words + 4);
    prepare(words[2]);
    uint64_t deadline = clock_ns() + (uint64_t)opt.deadline * SECOND;
    if (!scenario->no_users) join_all(deadline);
    quiet(SECOND / 5, deadline);
    puts("begin");
    fflush(stdout);
    if (!fgets(go, sizeof go, stdin)) return 1;
    double took = measure(deadline);
    printf("{\"scenario\":\"%s\",\"seconds\":%.6f,\"messages\":%llu,\"deliveries\":%llu", scenario->name, took,
           (unsigned long long)sent, (unsigned long long)received);
    report(&delivery_ms), report(&login_ms), report(&hello_ms), report(&whoelse_ms);
    puts("}");
    fflush(stdout);
    while (fgets(go, sizeof go, stdin)) continue;
    return 0;
}
