/* The fair price of a call option: what it pays on average, if the price of the underlying goes on at random as it
 * fluctuates now. Each voice of a round plays other games, the same ones whenever it is asked, so that an estimate can be
 * repeated by anybody. Interest is nobody's business here. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { WORD_DIGITS = 64, WORDS = 6, GAMES = 400000 };
static const double YEAR_SECONDS = 31557600.0;
static const double TWO_POW_64 = 18446744073709551616.0;

enum word { SPOT, STRIKE, VOLATILITY_BPS, SECONDS, ROUND, VOICE };

static int digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static int are_digits(const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (digit(text[i]) < 0) return 0;
    }
    return text[count] == '\0';
}

static double word(const char *params, enum word at)
{
    double value = 0;
    for (int i = 0; i < WORD_DIGITS; i++) {
        value = value * 16 + digit(params[at * WORD_DIGITS + i]);
    }
    return value;
}

/* splitmix64 */
static uint64_t next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Above 0 and no more than 1. */
static double uniform(uint64_t *state)
{
    return ((double)(next(state) >> 11) + 1.0) / 9007199254740992.0;
}

static double normal(uint64_t *state)
{
    double radius = sqrt(-2.0 * log(uniform(state)));
    return radius * cos(2.0 * M_PI * uniform(state));
}

static double pays(double price, double strike)
{
    return price > strike ? price - strike : 0.0;
}

static double fair_price(const char *params)
{
    double spot = word(params, SPOT), strike = word(params, STRIKE);
    double deviation = word(params, VOLATILITY_BPS) / 10000.0 * sqrt(word(params, SECONDS) / YEAR_SECONDS);
    uint64_t state = (uint64_t)word(params, ROUND) * 256 + (uint64_t)word(params, VOICE);
    double drift = -deviation * deviation / 2.0, sum = 0.0;
    for (int game = 0; game < GAMES; game += 2) {
        /* Each with its mirror image, which halves the error for nothing. */
        double luck = deviation * normal(&state);
        sum += pays(spot * exp(drift + luck), strike) + pays(spot * exp(drift - luck), strike);
    }
    return fmin(floor(sum / GAMES), spot);
}

static int write_word(FILE *out, double value)
{
    uint64_t halves[4] = {0, 0, (uint64_t)(value / TWO_POW_64), 0};
    halves[3] = (uint64_t)(value - (double)halves[2] * TWO_POW_64);
    for (int i = 0; i < 4; i++) {
        for (int shift = 56; shift >= 0; shift -= 8) {
            if (putc((int)(halves[i] >> shift & 0xff), out) == EOF) return 0;
        }
    }
    return 1;
}

static int write_worker(FILE *out, const char *worker)
{
    for (int i = 0; i < 40; i += 2) {
        if (putc(digit(worker[i]) * 16 + digit(worker[i + 1]), out) == EOF) return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    const char *worker = argc == 3 ? argv[1] : "";
    if (strncmp(worker, "0x", 2) == 0) worker += 2;
    if (argc != 3 || !are_digits(worker, strnlen(worker, 40)) || strlen(worker) != 40
        || strlen(argv[2]) != WORDS * WORD_DIGITS || !are_digits(argv[2], WORDS * WORD_DIGITS)) {
        fprintf(stderr, "error: give a worker's address and six words, in hexadecimal\n");
        return 1;
    }
    double price = fair_price(argv[2]);
    printf("%.0f\n", price);
    FILE *out = fopen("/out/result", "w");
    if (!out || !write_worker(out, worker) || !write_word(out, price) || fclose(out)) {
        fprintf(stderr, "error: cannot write to /out\n");
        return 1;
    }
    return 0;
}
