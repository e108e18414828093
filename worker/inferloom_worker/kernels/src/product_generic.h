// Products on any processor: in plain integers of 32 bits, an input at a time.
//
// Activations are rounded to 16 bits, as with AVX2, and all sums are added in the same order.
#pragma once

#include "activations.h"
#include "product_tiles.h"

namespace inferloom {

constexpr bool kHoldsQ12 = true;

// Rounds 16 numbers, stores them, and returns their sum.
inline int32_t round_activations(int16_t* out, f32x16 x) {
  const i32x16 whole = to_int(nearest(x));
  uint32_t sum = 0;  // of numbers that are not finite, rounding makes some that overflow
  for (int i = 0; i < 16; ++i) {
    const int32_t q = whole.part[i / 4][i % 4];
    out[i] = int16_t(q);
    sum += uint32_t(q);
  }
  return int32_t(sum);
}

// Calls put(weights, k) for each input k of vector v of a group.
template <Kind K, class Put>
inline void each_input(const uint8_t* group, int v, Put&& put) {
  u32x4 w[4];
  std::memcpy(w, group + 64 * v, sizeof w);
  const auto field = [&](int shift, uint32_t mask) {
    return parts<i32x16>([&](int n) { return bits_of<i32x4>((w[n] >> shift) & mask); });
  };
  if constexpr (K == kQ12) {
    // In every four inputs, 0 and 2, then 1 and 3.
    const int k = v / 2 * 4 + v % 2;
    put(parts<i32x16>([&](int n) { return bits_of<i32x4>(w[n] << 16) >> 16; }), k);
    put(parts<i32x16>([&](int n) { return bits_of<i32x4>(w[n]) >> 16; }), k + 2);
  } else if constexpr (K == kQ4 || K == kQ4F) {
    for (int b = 0; b < 4; ++b) put(field(8 * b, 15), 4 * v + b), put(field(8 * b + 4, 15), 16 + 4 * v + b);
  } else {
    for (int b = 0; b < 4; ++b) put(field(8 * b, 255), 4 * v + b);
  }
}

// out[r] = tile · activations of row first + r.
template <Kind K, int R>
__attribute__((noinline)) void product_of_tile(const uint8_t* tile, const Activations& x, int first, f32x16 (&out)[R]) {
  const Rows<R> rows(x, first);
  f32x16 sum[R];
  for (int r = 0; r < R; ++r) sum[r] = zero();
  for (size_t g = 0; g < rows.groups; ++g, tile += group_bytes(K)) {
    const Scales scales = scales_of<K>(tile);
    const int16_t* q = rows.q + g * kGroup;
    const auto dots = [&](int from, int to, i32x16(&dot)[R]) {
      for (int r = 0; r < R; ++r) dot[r] = {};
      for (int v = from; v < to; ++v)
        each_input<K>(tile, v, [&](i32x16 w, int k) {
          for (int r = 0; r < R; ++r)
            for (int n = 0; n < 4; ++n) dot[r].part[n] += w.part[n] * int32_t(q[r * rows.cols + k]);
        });
    };
    i32x16 dot[R];
    if constexpr (K == kQ8F) {
      // Two scales in a group. Weights are stored with 128 added; the activations' own sums take it off again.
      for (int h = 0; h < 2; ++h) {
        dots(4 * h, 4 * h + 4, dot);
        for (int r = 0; r < R; ++r) {
          const size_t at = r * rows.groups + g;
          for (i32x4& part : dot[r].part) part -= int32_t(uint32_t(rows.half[2 * at + h]) << 7);
          sum[r] = fma(to_float(dot[r]) * (h == 0 ? scales.scale : scales.offset), set1(rows.scale[at]), sum[r]);
        }
      }
    } else {
      dots(0, kVectors<K>, dot);
      for (int r = 0; r < R; ++r) {
        const size_t at = r * rows.groups + g;
        sum[r] = fma(to_float(dot[r]) * scales.scale, set1(rows.scale[at]), sum[r]);
        if constexpr (K != kQ12) sum[r] = fma(scales.offset, set1(rows.total[at]), sum[r]);
      }
    }
  }
  for (int r = 0; r < R; ++r) out[r] = sum[r];
}

template <Kind K, class Sink>
inline void multiply(const Matrix& m, int begin, int end, const Activations& x, int rows, Sink&& sink) {
  if constexpr (K == kBF16) {
    multiply_bf16(m, begin, end, x, rows, sink);
  } else {
    for (int tile = begin; tile < end; ++tile)
      in_fours(rows, [&](int row, auto count) {
        constexpr int R = decltype(count)::value;
        f32x16 out[R];
        product_of_tile<K, R>(m.tile(tile), x, row, out);
        for (int r = 0; r < R; ++r) sink(row + r, tile, out[r]);
      });
  }
}

}  // namespace inferloom
