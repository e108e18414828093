// Products on processors with AVX2.
//
// Activations are rounded to 16 bits, and weights are widened to 16 bits as they are read: one
// instruction multiplies two inputs of eight outputs and adds the pair. A 16-bit word of a weight vector holds
// two bytes, so words that are masked or shifted give inputs two apart: activations are stored in that order.
// Many rows share the widening: a tile is widened once, into the first-level cache, and all rows read it there.
#pragma once

#include <vector>

#include "activations.h"
#include "product_tiles.h"

namespace inferloom {

using i32x8 = __m256i;

constexpr bool kHoldsQ12 = true;
constexpr int kRowsToWiden = 12;  // below it, widening anew for every four rows costs less than storing

// Rounds 16 numbers, stores them in the order of every four 0, 2, 1, 3, and returns their sum.
inline int32_t round_activations(int16_t* out, f32x16 x) {
  const i32x8 a = _mm256_cvtps_epi32(x.a), b = _mm256_cvtps_epi32(x.b);
  // Packing works within halves of a register: 0-3 8-11 | 4-7 12-15, then put in order.
  const i32x8 narrow = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), _MM_SHUFFLE(3, 1, 2, 0));
  const i32x8 order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,  //
                                       0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
  _mm256_storeu_si256(reinterpret_cast<i32x8*>(out), _mm256_shuffle_epi8(narrow, order));
  const i32x8 eight = _mm256_add_epi32(a, b);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(1, 0, 3, 2)));
  // Unsigned: of numbers that are not finite, rounding makes some that overflow.
  return int32_t(uint32_t(_mm_cvtsi128_si32(four)) + uint32_t(_mm_extract_epi32(four, 1)));
}

// Sums of R rows with one tile, its lanes 0 … 7 and 8 … 15.
template <int R>
struct Dots {
  i32x8 sum[R][2];

  void clear() {
    for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
  }

  // Adds two inputs per lane.
  void add(i32x8 low, i32x8 high, const int16_t* a, size_t row) {
    hold(low), hold(high);
    for (int r = 0; r < R; ++r) {
      int32_t pair;
      std::memcpy(&pair, a + r * row, 4);
      const i32x8 x = _mm256_set1_epi32(pair);
      accumulate(sum[r][0], _mm256_madd_epi16(low, x));
      accumulate(sum[r][1], _mm256_madd_epi16(high, x));
    }
  }

  // Left alone, the compiler loads the weights again for every row and moves sums about, which costs a third.
  static void hold(i32x8& v) { asm("" : "+x"(v)); }
  static void accumulate(i32x8& sum, i32x8 product) { asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(product)); }

  f32x16 values(int r) const { return {_mm256_cvtepi32_ps(sum[r][0]), _mm256_cvtepi32_ps(sum[r][1])}; }
};

// Calls put(low, high, at) for each pair of inputs of vector v of a group: the pair's weights in lanes 0 … 7 and
// 8 … 15, and where its activations are in the group.
template <Kind K, class Put>
inline void widen(const uint8_t* group, int v, Put&& put) {
  const auto* p = reinterpret_cast<const i32x8*>(group + 64 * v);
  const i32x8 low = _mm256_loadu_si256(p), high = _mm256_loadu_si256(p + 1);
  if constexpr (K == kQ12) {
    put(low, high, 2 * v);
  } else if constexpr (K == kQ4 || K == kQ4F) {
    const i32x8 nibble = _mm256_set1_epi16(15);
    const auto part = [&](i32x8 w, int shift) { return _mm256_and_si256(_mm256_srli_epi16(w, shift), nibble); };
    put(_mm256_and_si256(low, nibble), _mm256_and_si256(high, nibble), 4 * v);
    put(part(low, 4), part(high, 4), 16 + 4 * v);
    put(part(low, 8), part(high, 8), 4 * v + 2);
    put(_mm256_srli_epi16(low, 12), _mm256_srli_epi16(high, 12), 16 + 4 * v + 2);
  } else {
    const i32x8 byte = _mm256_set1_epi16(255);
    put(_mm256_and_si256(low, byte), _mm256_and_si256(high, byte), 4 * v);
    put(_mm256_srli_epi16(low, 8), _mm256_srli_epi16(high, 8), 4 * v + 2);
  }
}

// Adds what group g adds to the rows' sums. weights(dots, first, last) adds the pairs of vectors first … last - 1.
template <Kind K, int R, class Weights>
inline void add_group(f32x16 (&sum)[R], const Rows<R>& x, int g, const Scales& scales, Weights&& weights) {
  Dots<R> dots;
  // The sums are touched once in a group, the dots with every pair: the dots get the registers.
  for (f32x16& s : sum) asm("" : "+m"(s.a), "+m"(s.b));
  if constexpr (K == kQ8F) {
    // Two scales in a group: the first half is finished before the second is begun.
    for (int h = 0; h < 2; ++h) {
      dots.clear();
      weights(dots, 4 * h, 4 * h + 4);
      const f32x16 d = h == 0 ? scales.scale : scales.offset;
      for (int r = 0; r < R; ++r) {
        // Weights are stored with 128 added; the activations' own sums take it off again.
        const i32x8 excess = _mm256_slli_epi32(_mm256_set1_epi32(x.half[(r * x.groups + g) * 2 + h]), 7);
        for (auto& s : dots.sum[r]) s = _mm256_sub_epi32(s, excess);
        sum[r] = fma(dots.values(r) * d, set1(x.scale[r * x.groups + g]), sum[r]);
      }
    }
  } else {
    dots.clear();
    weights(dots, 0, kVectors<K>);
    for (int r = 0; r < R; ++r) {
      sum[r] = fma(dots.values(r) * scales.scale, set1(x.scale[r * x.groups + g]), sum[r]);
      if constexpr (K != kQ12) sum[r] = fma(scales.offset, set1(x.total[r * x.groups + g]), sum[r]);
    }
  }
}

// out[r] = tile · activations of row first + r. Weights are widened as they are read.
template <Kind K, int R>
__attribute__((noinline)) void product_of_tile(const uint8_t* tile, const Activations& x, int first, f32x16 (&out)[R]) {
  const Rows<R> rows(x, first);
  f32x16 sum[R];
  for (int r = 0; r < R; ++r) sum[r] = zero();
  for (size_t g = 0; g < rows.groups; ++g, tile += group_bytes(K)) {
    const int16_t* q = rows.q + g * kGroup;
    add_group<K, R>(sum, rows, g, scales_of<K>(tile), [&](Dots<R>& dots, int from, int to) {
      for (int v = from; v < to; ++v)
        widen<K>(tile, v, [&](i32x8 low, i32x8 high, int at) { dots.add(low, high, q + at, rows.cols); });
    });
  }
  for (int r = 0; r < R; ++r) out[r] = sum[r];
}

// A tile whose weights are widened once for many rows, in the order of the pairs' activations.
class WideTile {
 public:
  template <Kind K>
  void fill(const uint8_t* tile, int groups) {
    weights_.resize(size_t(groups) * kGroup * kTile);
    scales_.resize(groups);
    int16_t* out = weights_.data();
    for (int g = 0; g < groups; ++g, tile += group_bytes(K), out += kGroup * kTile) {
      for (int v = 0; v < kVectors<K>; ++v)
        widen<K>(tile, v, [&](i32x8 low, i32x8 high, int at) {
          auto* p = reinterpret_cast<i32x8*>(out + at * kTile);
          _mm256_storeu_si256(p, low), _mm256_storeu_si256(p + 1, high);
        });
      scales_[g] = scales_of<K>(tile);
    }
  }

  // The same as product_of_tile, bit for bit.
  template <Kind K, int R>
  __attribute__((noinline)) void product(const Activations& x, int first, f32x16 (&out)[R]) const {
    const Rows<R> rows(x, first);
    f32x16 sum[R];
    for (int r = 0; r < R; ++r) sum[r] = zero();
    for (size_t g = 0; g < rows.groups; ++g) {
      const int16_t* w = weights_.data() + g * kGroup * kTile;
      const int16_t* q = rows.q + g * kGroup;
      add_group<K, R>(sum, rows, g, scales_[g], [&](Dots<R>& dots, int from, int to) {
        constexpr int kPairs = kGroup / 2 / kVectors<K>;
#pragma GCC unroll 4
        for (int at = from * kPairs * 2; at < to * kPairs * 2; at += 2) {
          const auto* p = reinterpret_cast<const i32x8*>(w + at * kTile);
          dots.add(_mm256_loadu_si256(p), _mm256_loadu_si256(p + 1), q + at, rows.cols);
        }
      });
    }
    for (int r = 0; r < R; ++r) out[r] = sum[r];
  }

 private:
  std::vector<int16_t> weights_;
  std::vector<Scales> scales_;
};

template <Kind K, class Sink>
inline void multiply(const Matrix& m, int begin, int end, const Activations& x, int rows, Sink&& sink) {
  if constexpr (K == kBF16) {
    multiply_bf16(m, begin, end, x, rows, sink);
  } else {
    thread_local WideTile wide;
    for (int tile = begin; tile < end; ++tile) {
      const bool widened = K != kQ12 && rows >= kRowsToWiden;  // kQ12 is as wide as it gets
      if (widened) wide.fill<K>(m.tile(tile), m.groups());
      in_fours(rows, [&](int row, auto count) {
        constexpr int R = decltype(count)::value;
        f32x16 out[R];
        widened ? wide.product<K, R>(x, row, out) : product_of_tile<K, R>(m.tile(tile), x, row, out);
        for (int r = 0; r < R; ++r) sink(row + r, tile, out[r]);
      });
    }
  }
}

}  // namespace inferloom
