/* A reward as a shared library: rewards = [{ library = "./my_reward.so" }].
 *
 * The library has one function, sluice_reward_v1(), that returns a table which stays valid. Sluice loads it
 * in a process of its own, never in the one that trains, and calls it from one thread. In C:
 *
 *     static int score(void* state, const sluice_sample* const* samples, size_t count, double* scores,
 *                      char* problem, size_t problem_size) {
 *       for (size_t i = 0; i < count; ++i) scores[i] = samples[i]->completion.size == 0 ? 0.0 : 1.0;
 *       return 0;
 *     }
 *     const sluice_reward* sluice_reward_v1(void) {
 *       static const sluice_reward reward = {.size = sizeof(sluice_reward), .name = "not_empty", .score =
 * score}; return &reward;
 *     }
 *
 *     cc -shared -fPIC -I SLUICE/include my_reward.c -o my_reward.so
 *
 * Later versions add fields behind those that are here, and `size` says which there are.
 */
#ifndef SLUICE_REWARD_H
#define SLUICE_REWARD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* UTF-8; no zero stands at its end. */
typedef struct sluice_text {
  const char* bytes;
  size_t size;
} sluice_text;

/* One completion to score. Everything in it is gone when score() returns. */
typedef struct sluice_sample {
  size_t size; /* of this struct */
  sluice_text prompt;
  sluice_text completion;
  sluice_text messages; /* the prompt's conversation as JSON; empty where it is text */
  size_t num_columns;   /* of the dataset's row */
  const sluice_text* column_names;
  const sluice_text* column_values; /* text as it is, anything else as JSON */
  size_t num_tokens;
  const int32_t* tokens; /* as sampled */
  int truncated;         /* cut by the length limit */
} sluice_sample;

typedef struct sluice_reward {
  size_t size;                /* sizeof(sluice_reward) */
  const char* name;           /* ends with a zero */
  void* (*open)(void);        /* called once, its result is every call's `state`; may be NULL */
  void (*close)(void* state); /* may be NULL */
  /* Writes count scores. One that is left as it is (a NaN) is unscored. Returns 0, or anything else when all
   * are unscored for the reason in `problem`: text that ends with a zero, in at most problem_size bytes. */
  int (*score)(void* state, const sluice_sample* const* samples, size_t count, double* scores, char* problem,
               size_t problem_size);
} sluice_reward;

/* What the library has to define. */
const sluice_reward* sluice_reward_v1(void);

#ifdef __cplusplus
}
#endif

#endif
