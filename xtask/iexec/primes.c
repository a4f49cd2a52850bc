// Counts the primes below its argument, as an app of iExec's would: arguments and places come by the environment, the
// outputs go to a folder, computed.json says what is for a contract.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *output(const char *folder, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "w");
  if (!file) {
    perror(path);
    exit(1);
  }
  return file;
}

int main(int argc, char **argv) {
  const char *out = getenv("IEXEC_OUT"), *in = getenv("IEXEC_IN"), *index = getenv("IEXEC_BOT_TASK_INDEX");
  if (argc < 2 || !out || !in || !index) {
    fprintf(stderr, "error: needs a number, IEXEC_IN, IEXEC_OUT and IEXEC_BOT_TASK_INDEX\n");
    return 2;
  }
  long limit = atol(argv[1]), count = 0;
  if (limit < 0 || limit > 100000000) return 3;
  char *composite = calloc(limit + 1, 1);
  for (long number = 2; number < limit; number++) {
    if (composite[number]) continue;
    count++;
    for (long multiple = 2 * number; multiple < limit; multiple += number) composite[multiple] = 1;
  }
  printf("%ld primes below %ld, task %s\n", count, limit, index);

  FILE *file = output(out, "primes.txt");
  fprintf(file, "%ld\n", count);
  const char *dataset = getenv("IEXEC_DATASET_FILENAME");
  if (dataset) {
    char path[4096], line[256] = "";
    snprintf(path, sizeof path, "%s/%s", in, dataset);
    FILE *data = fopen(path, "r");
    if (!data || !fgets(line, sizeof line, data)) return 4;
    fprintf(file, "dataset: %s", line);
  }
  fclose(file);
  file = output(out, "computed.json");
  fprintf(file, "{\"deterministic-output-path\":\"%s\",\"callback-data\":\"0x%064lx\"}\n", out, count);
  fclose(file);
  return 0;
}
