// Products on processors with AVX-512 VNNI.
//
// The 16-bit activations are held as two planes of 8 bits, q = 256 · high + low, both signed, so that the inner loop
// is 8-bit dot products. For bfloat16 weights they are split into bfloat16 numbers, where the processor multiplies
// those.
#pragma once

#include <algorithm>
#include <vector>

#include "product_plain.h"
#include "weights.h"

namespace inferloom {

using i32x16 = __m512i;

constexpr bool kHoldsQ12 = false;  // bfloat16 serves as well here

inline bool dots_bf16() {
  static const bool does = __builtin_cpu_supports("avx512bf16");
  return does;
}

// Rows of quantised activations.
struct Activations {
  // For bfloat16 matrices, an activation is the sum of so many bfloat16 numbers: one keeps 8 of its bits, two 16.
  explicit Activations(int parts = 2) : parts(parts) {}

  const int parts;
  int cols = 0;
  std::vector<int8_t> q;       // [rows, cols / 32, 2, 32]: each group's high plane, then its low one
  std::vector<float> scale;    // [rows, cols / 32]
  std::vector<float> total;    // [rows, cols / 32]: scale · sum of q
  std::vector<uint16_t> wide;  // [rows, parts, cols]: bfloat16, for matrices of that kind
  std::vector<float> plain;    // [rows, cols]: float32, where the processor does not multiply bfloat16

  void resize(int rows, int c) {
    cols = c;
    if (q.size() < size_t(rows) * c * 2) {
      q.resize(size_t(rows) * c * 2);
      scale.resize(size_t(rows) * (c / kGroup));
      total.resize(size_t(rows) * (c / kGroup));
      (dots_bf16() ? void(wide.resize(size_t(rows) * parts * c)) : void(plain.resize(size_t(rows) * c)));
    }
  }

  // Rounds a row to what a matrix of the kind is multiplied with.
  void put_row(Kind kind, int row, const float* x) {
    if (kind == kBF16) {
      dots_bf16() ? split(row, x) : void(std::copy_n(x, cols, plain.data() + size_t(row) * cols));
    } else {
      quantize(row, x);
    }
  }

  void quantize(int row, const float* x) {
    const int groups = cols / kGroup;
    constexpr float kMost = 127 * 256;  // so that rounding high to nearest leaves it within 8 bits
    f32x16 strange = zero();            // NaN where a number is not finite, else 0
    for (int g = 0; g < groups; ++g) {
      const f32x16 a = load(x + g * kGroup), b = load(x + g * kGroup + 16);
      strange = strange + ((a - a) + (b - b));
      const float most = reduce_max(max(abs(a), abs(b)));
      const float step = most / kMost, inverse = most > kLeastActivation ? kMost / most : 0.0f;
      const i32x16 qa = _mm512_cvtps_epi32((a * set1(inverse)).v);
      const i32x16 qb = _mm512_cvtps_epi32((b * set1(inverse)).v);
      int8_t* out = q.data() + (size_t(row) * groups + g) * 2 * kGroup;
      put(out, qa), put(out + 16, qb);
      scale[size_t(row) * groups + g] = step;
      total[size_t(row) * groups + g] = step * float(_mm512_reduce_add_epi32(_mm512_add_epi32(qa, qb)));
    }
    // Rounding makes a number of NaN; the row's products must not look like a model's.
    scale[size_t(row) * groups] += reduce_add(strange);
  }

 private:
  // Each part is what the ones before it leave, rounded to nearest, ties to even, as the processor's own conversion.
  void split(int row, const float* x) {
    uint16_t* out = wide.data() + size_t(row) * parts * cols;
    for (int i = 0; i < cols; i += 16) {
      f32x16 left = load(x + i);
      for (int part = 0; part < parts; ++part) {
        const i32x16 bits = _mm512_castps_si512(left.v);
        const i32x16 odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const i32x16 up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
        auto* at = reinterpret_cast<__m256i*>(out + size_t(part) * cols + i);
        _mm256_storeu_si256(at, _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16)));
        const i32x16 whole = _mm512_and_si512(up, _mm512_set1_epi32(int(0xFFFF0000)));
        left = left - f32x16{_mm512_castsi512_ps(whole)};
      }
    }
  }

  static void put(int8_t* out, i32x16 v) {
    const i32x16 high = _mm512_srai_epi32(_mm512_add_epi32(v, _mm512_set1_epi32(128)), 8);
    const i32x16 low = _mm512_sub_epi32(v, _mm512_slli_epi32(high, 8));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(high));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + kGroup), _mm512_cvtepi32_epi8(low));
  }
};

inline i32x16 broadcast4(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

// Sums of R rows with N tiles.
template <int R, int N>
struct Dots {
  i32x16 high[R][N], low[R][N];

  void clear() {
    for (int r = 0; r < R; ++r)
      for (int n = 0; n < N; ++n) high[r][n] = low[r][n] = _mm512_setzero_si512();
  }

  // Adds four consecutive inputs per lane. Each input is loaded once for all tiles, each weight once for all rows.
  void add(const i32x16 (&w)[N], const int8_t* a, size_t row_bytes) {
    for (int r = 0; r < R; ++r, a += row_bytes) {
      const i32x16 x_high = broadcast4(a), x_low = broadcast4(a + kGroup);
      for (int n = 0; n < N; ++n) {
        high[r][n] = _mm512_dpbusd_epi32(high[r][n], w[n], x_high);
        low[r][n] = _mm512_dpbusd_epi32(low[r][n], w[n], x_low);
      }
    }
  }

  i32x16 whole(int r, int n) const { return _mm512_add_epi32(_mm512_slli_epi32(high[r][n], 8), low[r][n]); }
};

// out[r][n] = tile n · activations of row first + r. Tiles are tile_bytes apart.
template <Kind K, int R, int N>
inline void product(const uint8_t* tile, size_t tile_bytes, const Activations& x, int first, f32x16 (&out)[R][N]) {
  const int groups = x.cols / kGroup;
  const size_t row_bytes = size_t(x.cols) * 2;
  const int8_t* q = x.q.data() + first * row_bytes;
  const float* scale = x.scale.data() + size_t(first) * groups;
  const float* total = x.total.data() + size_t(first) * groups;
  f32x16 sum[R][N];
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) sum[r][n] = zero();
  const i32x16 nibble = _mm512_set1_epi8(15);
  Dots<R, N> dots;
  for (int g = 0; g < groups; ++g, tile += group_bytes(K), q += 2 * kGroup) {
    const auto packed = [&](int n, int v) { return _mm512_loadu_si512(tile + n * tile_bytes + 64 * v); };
    dots.clear();
    if constexpr (K == kQ8F) {
      // Two scales in a group: the first half is finished before the second is begun.
      for (int half = 0; half < 2; ++half, dots.clear()) {
        for (int v = 4 * half; v < 4 * half + 4; ++v) {
          i32x16 w[N];
          for (int n = 0; n < N; ++n) w[n] = packed(n, v);
          dots.add(w, q + 4 * v, row_bytes);
        }
        for (int r = 0; r < R; ++r) {
          const int8_t* a = q + r * row_bytes + 16 * half;
          int sum_high = 0, sum_low = 0;
          for (int k = 0; k < 16; ++k) sum_high += a[k], sum_low += a[kGroup + k];
          // Weights are stored with 128 added; the activations' own sums take it off again.
          const i32x16 excess = _mm512_set1_epi32(128 * (256 * sum_high + sum_low));
          const f32x16 s = set1(scale[size_t(r) * groups + g]);
          for (int n = 0; n < N; ++n) {
            const f32x16 d = load(reinterpret_cast<const float*>(tile + n * tile_bytes + 512) + half * kTile);
            const f32x16 dot = {_mm512_cvtepi32_ps(_mm512_sub_epi32(dots.whole(r, n), excess))};
            sum[r][n] = fma(dot * d, s, sum[r][n]);
          }
        }
      }
      continue;
    }
    if constexpr (K == kQ8) {
      for (int v = 0; v < 8; ++v) {
        i32x16 w[N];
        for (int n = 0; n < N; ++n) w[n] = packed(n, v);
        dots.add(w, q + 4 * v, row_bytes);
      }
    } else {
      for (int v = 0; v < 4; ++v) {
        i32x16 lower[N], upper[N];
        for (int n = 0; n < N; ++n) {
          const i32x16 both = packed(n, v);
          lower[n] = _mm512_and_si512(both, nibble);
          upper[n] = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
        }
        dots.add(lower, q + 4 * v, row_bytes);
        dots.add(upper, q + 16 + 4 * v, row_bytes);
      }
    }
    for (int n = 0; n < N; ++n) {
      const uint8_t* end = tile + n * tile_bytes + (K == kQ8 ? 512 : 256);
      f32x16 d, m;
      if constexpr (K == kQ4F) {
        const auto* f = reinterpret_cast<const float*>(end);
        d = load(f), m = load(f + kTile);
      } else {
        d = load_f16(reinterpret_cast<const uint16_t*>(end));
        // 8-bit weights are stored with 128 added.
        m = K == kQ8 ? d * set1(-128.0f) : load_f16(reinterpret_cast<const uint16_t*>(end) + kTile);
      }
      for (int r = 0; r < R; ++r) {
        const f32x16 s = set1(scale[size_t(r) * groups + g]);
        const f32x16 t = set1(total[size_t(r) * groups + g]);
        const f32x16 dot = {_mm512_cvtepi32_ps(dots.whole(r, n))};
        sum[r][n] = fma(m, t, fma(dot * d, s, sum[r][n]));
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) out[r][n] = sum[r][n];
}

// The same for bfloat16, on processors that multiply it: two consecutive inputs are multiplied and added to a lane's
// sum at a time, each of their parts in turn.
template <int P, int R, int N>
__attribute__((target("avx512bf16"))) void product_dots(const uint8_t* tile, size_t tile_bytes, const Activations& x,
                                                        int first, f32x16 (&out)[R][N]) {
  const size_t row = size_t(P) * x.cols;
  const uint16_t* a = x.wide.data() + first * row;
  f32x16 sum[R][N];
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) sum[r][n] = zero();
  for (int c = 0; c < x.cols; c += 2, tile += 64) {
    i32x16 w[N];
    for (int n = 0; n < N; ++n) w[n] = _mm512_loadu_si512(tile + n * tile_bytes);
    for (int r = 0; r < R; ++r)
      for (int p = 0; p < P; ++p) {
        const i32x16 pair = broadcast4(reinterpret_cast<const int8_t*>(a + r * row + size_t(p) * x.cols + c));
        for (int n = 0; n < N; ++n) sum[r][n].v = _mm512_dpbf16_ps(sum[r][n].v, (__m512bh)w[n], (__m512bh)pair);
      }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) out[r][n] = sum[r][n];
}

template <int R, int N>
inline void product_bf16(const uint8_t* tile, size_t tile_bytes, const Activations& x, int first, f32x16 (&out)[R][N]) {
  if (dots_bf16()) {
    x.parts == 1 ? product_dots<1, R, N>(tile, tile_bytes, x, first, out)
                 : product_dots<2, R, N>(tile, tile_bytes, x, first, out);
  } else {
    product_plain<R, N>(tile, tile_bytes, x.plain.data() + size_t(first) * x.cols, x.cols, out);
  }
}

// Calls sink(row, tile, out) for R rows and tiles first_tile … first_tile + N - 1.
template <Kind K, int R, int N, class Sink>
inline void product_to(const Matrix& m, int first_tile, const Activations& x, int first_row, Sink&& sink) {
  f32x16 out[R][N];
  if constexpr (K == kBF16) {
    product_bf16<R, N>(m.tile(first_tile), m.tile_bytes(), x, first_row, out);
  } else {
    product<K, R, N>(m.tile(first_tile), m.tile_bytes(), x, first_row, out);
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) sink(first_row + r, first_tile + n, out[r][n]);
}

template <Kind K, int N, class Sink>
inline void all_rows(const Matrix& m, int tile, const Activations& x, int rows, Sink&& sink) {
  int row = 0;
  // bfloat16 needs no second plane of sums, which leaves registers for eight rows.
  if constexpr (K == kBF16)
    for (; row + 8 <= rows; row += 8) product_to<K, 8, N>(m, tile, x, row, sink);
  for (; row + 4 <= rows; row += 4) product_to<K, 4, N>(m, tile, x, row, sink);
  switch (rows - row) {
    case 1: return product_to<K, 1, N>(m, tile, x, row, sink);
    case 2: return product_to<K, 2, N>(m, tile, x, row, sink);
    case 3: return product_to<K, 3, N>(m, tile, x, row, sink);
  }
}

template <Kind K, class Sink>
inline void multiply(const Matrix& m, int begin, int end, const Activations& x, int rows, Sink&& sink) {
  int tile = begin;
  // Four tiles side by side hide a single row's latencies; two leave registers for four rows.
  if (rows == 1)
    for (; tile + 4 <= end; tile += 4) product_to<K, 1, 4>(m, tile, x, 0, sink);
  for (; tile + 2 <= end; tile += 2) all_rows<K, 2>(m, tile, x, rows, sink);
  for (; tile < end; ++tile) all_rows<K, 1>(m, tile, x, rows, sink);
}

}  // namespace inferloom
