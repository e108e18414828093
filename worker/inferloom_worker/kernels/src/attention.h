// Causal attention over the paged cache.
//
// The cache is float16. A block holds 16 tokens of one key-value head: keys as [head_dim][16], so that one
// load gives a dimension of all 16 tokens, and values as [16][head_dim]. Arithmetic is float32. Every query
// adds up its own context in order, so its result does not depend on the queries beside it.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "vec.h"

namespace inferloom {

constexpr int kBlock = 16;
constexpr int kQueries = std::min(8, kLive);  // queries that share one pass over keys and values

// One layer's cache.
struct CacheLayer {
  uint16_t* keys;    // [blocks][kv_heads][head_dim][16]
  uint16_t* values;  // [blocks][kv_heads][16][head_dim]
};

struct Query {
  const float* q;  // [head_dim], scaled
  float* out;      // [head_dim]
  int first;       // sees tokens first … limit - 1 of its sequence
  int limit;
};

// softcap · tanh(x / softcap), with tanh(y) = 1 - 2 / (e^2y + 1).
inline f32x16 squash(f32x16 x, float softcap) {
  const f32x16 one = set1(1.0f), two = set1(2.0f);
  return set1(softcap) * (one - two / (exp16(x * set1(2.0f / softcap)) + one));
}

// Attends with N queries of one sequence and one key-value head. scores has room for N · stride floats, stride
// a multiple of 16 that is at least the longest limit.
template <int N>
inline void attend(const Query* queries, const CacheLayer& cache, const int32_t* blocks, int head, int heads, int dim,
                   float softcap, float* scores, int stride) {
  constexpr int kWide = 2 * N <= kLive ? 2 : 1;  // blocks, or runs of dimensions, that share the loads of the queries
  int from = queries[0].first, to = queries[0].limit;
  for (int n = 1; n < N; ++n) from = std::min(from, queries[n].first), to = std::max(to, queries[n].limit);
  const int first_block = from / kBlock, last_block = (to - 1) / kBlock;
  const size_t block_size = size_t(heads) * dim * kBlock, head_at = size_t(head) * dim * kBlock;

  f32x16 most[N];
  for (int n = 0; n < N; ++n) most[n] = set1(-INFINITY);
  const auto score_blocks = [&](int b, auto width) {
    constexpr int W = decltype(width)::value;
    f32x16 score[N][W];
    for (int n = 0; n < N; ++n)
      for (int w = 0; w < W; ++w) score[n][w] = zero();
    const uint16_t* keys[W];
    for (int w = 0; w < W; ++w) keys[w] = cache.keys + blocks[b + w] * block_size + head_at;
    for (int d = 0; d < dim; ++d) {
      f32x16 key[W];
      for (int w = 0; w < W; ++w) key[w] = load_f16(keys[w] + d * kBlock);
      for (int n = 0; n < N; ++n) {
        const f32x16 q = set1(queries[n].q[d]);
        for (int w = 0; w < W; ++w) score[n][w] = fma(q, key[w], score[n][w]);
      }
    }
    for (int w = 0; w < W; ++w) {
      const int place = (b + w) * kBlock;
      for (int n = 0; n < N; ++n) {
        f32x16 s = softcap > 0 ? squash(score[n][w], softcap) : score[n][w];
        s = select(lanes(queries[n].first - place, queries[n].limit - place), s, set1(-INFINITY));
        most[n] = max(most[n], s);
        store(scores + n * stride + place, s);
      }
    }
  };
  int next = first_block;
  for (; next + kWide <= last_block + 1; next += kWide) score_blocks(next, std::integral_constant<int, kWide>{});
  if (next <= last_block) score_blocks(next, std::integral_constant<int, 1>{});

  float inverse[N];
  for (int n = 0; n < N; ++n) {
    const f32x16 top = set1(reduce_max(most[n]));
    f32x16 sum = zero();
    for (int b = first_block; b <= last_block; ++b) {
      float* at = scores + n * stride + b * kBlock;
      const f32x16 s = load(at);
      const f32x16 e = select(equal(s, set1(-INFINITY)), zero(), exp16(s - top));
      store(at, e);
      sum = sum + e;
    }
    inverse[n] = 1.0f / reduce_add(sum);
  }

  const auto mix = [&](int d, auto width) {
    constexpr int W = decltype(width)::value;
    f32x16 sum[N][W];
    for (int n = 0; n < N; ++n)
      for (int w = 0; w < W; ++w) sum[n][w] = zero();
    for (int b = first_block; b <= last_block; ++b) {
      const uint16_t* values = cache.values + blocks[b] * block_size + head_at + d;
      // Places past the longest limit hold whatever was there before: they are not read.
      const int begin = std::max(from - b * kBlock, 0), end = std::min(to - b * kBlock, kBlock);
      for (int t = begin; t < end; ++t) {
        f32x16 value[W];
        for (int w = 0; w < W; ++w) value[w] = load_f16(values + t * dim + 16 * w);
        for (int n = 0; n < N; ++n) {
          const f32x16 p = set1(scores[n * stride + b * kBlock + t]);
          for (int w = 0; w < W; ++w) sum[n][w] = fma(p, value[w], sum[n][w]);
        }
      }
    }
    for (int n = 0; n < N; ++n)
      for (int w = 0; w < W; ++w) store(queries[n].out + d + 16 * w, sum[n][w] * set1(inverse[n]));
  };
  int d = 0;
  for (; d + 16 * kWide <= dim; d += 16 * kWide) mix(d, std::integral_constant<int, kWide>{});
  if (d < dim) mix(d, std::integral_constant<int, 1>{});
}

inline void attend(int count, const Query* queries, const CacheLayer& cache, const int32_t* blocks, int head, int heads,
                   int dim, float softcap, float* scores, int stride) {
  switch (count) {
    case 1: return attend<1>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    case 2: return attend<2>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    case 3: return attend<3>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    case 4: return attend<4>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    case 5: return attend<5>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    case 6: return attend<6>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
  }
  if constexpr (kQueries > 6) {
    if (count == 7) return attend<7>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    if (count == 8) return attend<8>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
  }
}

}  // namespace inferloom
