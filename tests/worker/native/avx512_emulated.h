// The AVX-512 instructions that the kernels use, in plain C++, so that their AVX-512 sources can be compiled, tested
// and sanitised on a processor without them. Put before everything else with the compiler's -include.
//
// Semantics: Intel's Intrinsics Guide. vdpbf16ps treats denormal inputs as zero, flushes denormal sums, and adds the
// odd product first, each with one rounding.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace emulated {

struct f512 {
  float v[16];
};
struct i512 {
  int32_t v[16];
};
struct bh512 {
  uint16_t v[32];
  explicit bh512(const i512& bits) { std::memcpy(v, bits.v, 64); }
};
using mask = uint16_t;

template <class T, class F>
inline T each(F&& f) {
  T out;
  for (int i = 0; i < 16; ++i) out.v[i] = f(i);
  return out;
}

inline f512 set1_ps(float x) {
  return each<f512>([&](int) { return x; });
}
inline i512 set1_epi32(int x) {
  return each<i512>([&](int) { return x; });
}
inline i512 set1_epi8(char x) {
  i512 out;
  std::memset(out.v, x, 64);
  return out;
}
inline i512 setzero_si512() { return set1_epi32(0); }

inline f512 loadu_ps(const void* p) {
  f512 out;
  std::memcpy(out.v, p, 64);
  return out;
}
inline i512 loadu_si512(const void* p) {
  i512 out;
  std::memcpy(out.v, p, 64);
  return out;
}
inline f512 maskz_loadu_ps(mask m, const float* p) {
  return each<f512>([&](int i) { return m >> i & 1 ? p[i] : 0.0f; });
}
inline void storeu_ps(void* p, f512 a) { std::memcpy(p, a.v, 64); }

inline f512 castsi512_ps(i512 a) { return loadu_ps(a.v); }
inline i512 castps_si512(f512 a) { return loadu_si512(a.v); }
inline f512 cvtph_ps(__m256i h) {
  uint16_t bits[16];
  std::memcpy(bits, &h, 32);
  return each<f512>([&](int i) { return _cvtsh_ss(bits[i]); });
}
inline __m256i cvtps_ph(f512 a, int) {
  uint16_t bits[16];
  for (int i = 0; i < 16; ++i) bits[i] = _cvtss_sh(a.v[i], _MM_FROUND_TO_NEAREST_INT);
  __m256i out;
  std::memcpy(&out, bits, 32);
  return out;
}
// Out of range, the instruction gives the least integer.
inline i512 cvtps_epi32(f512 a) {
  return each<i512>([&](int i) { return _mm_cvtss_si32(_mm_set_ss(a.v[i])); });
}
inline f512 cvtepi32_ps(i512 a) {
  return each<f512>([&](int i) { return float(a.v[i]); });
}
inline __m128i cvtepi32_epi8(i512 a) {
  int8_t bytes[16];
  for (int i = 0; i < 16; ++i) bytes[i] = int8_t(a.v[i]);
  __m128i out;
  std::memcpy(&out, bytes, 16);
  return out;
}
inline __m256i cvtepi32_epi16(i512 a) {
  int16_t words[16];
  for (int i = 0; i < 16; ++i) words[i] = int16_t(a.v[i]);
  __m256i out;
  std::memcpy(&out, words, 32);
  return out;
}

#define INFERLOOM_EMULATE(name, expression)               \
  inline f512 name(f512 a, f512 b) {                      \
    return each<f512>([&](int i) { return expression; }); \
  }
INFERLOOM_EMULATE(add_ps, a.v[i] + b.v[i])
INFERLOOM_EMULATE(sub_ps, a.v[i] - b.v[i])
INFERLOOM_EMULATE(mul_ps, a.v[i] * b.v[i])
INFERLOOM_EMULATE(div_ps, a.v[i] / b.v[i])
// The second operand, where one of the two is NaN.
INFERLOOM_EMULATE(max_ps, a.v[i] > b.v[i] ? a.v[i] : b.v[i])
INFERLOOM_EMULATE(min_ps, a.v[i] < b.v[i] ? a.v[i] : b.v[i])
#undef INFERLOOM_EMULATE
inline f512 fmadd_ps(f512 a, f512 b, f512 c) {
  return each<f512>([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); });
}
inline f512 fnmadd_ps(f512 a, f512 b, f512 c) {
  return each<f512>([&](int i) { return std::fma(-a.v[i], b.v[i], c.v[i]); });
}
inline f512 abs_ps(f512 a) {
  return each<f512>([&](int i) { return std::fabs(a.v[i]); });
}
inline f512 roundscale_ps(f512 a, int) {
  return each<f512>([&](int i) { return std::nearbyint(a.v[i]); });
}
inline f512 scalef_ps(f512 a, f512 n) {
  return each<f512>([&](int i) { return a.v[i] * std::exp2(std::floor(n.v[i])); });
}
// In halves, as the compiler's own sequence adds.
inline float reduce_add_ps(f512 a) {
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) a.v[i] += a.v[i + width];
  return a.v[0];
}
inline float reduce_max_ps(f512 a) {
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) a.v[i] = a.v[i] > a.v[i + width] ? a.v[i] : a.v[i + width];
  return a.v[0];
}

inline mask cmp_ps_mask(f512 a, f512 b, int predicate) {
  mask m = 0;
  for (int i = 0; i < 16; ++i) m |= mask((predicate == _CMP_EQ_OQ ? a.v[i] == b.v[i] : a.v[i] < b.v[i]) << i);
  return m;
}
inline f512 mask_mov_ps(f512 no, mask m, f512 yes) {
  return each<f512>([&](int i) { return m >> i & 1 ? yes.v[i] : no.v[i]; });
}

inline i512 add_epi32(i512 a, i512 b) {
  return each<i512>([&](int i) { return int32_t(uint32_t(a.v[i]) + uint32_t(b.v[i])); });
}
inline i512 sub_epi32(i512 a, i512 b) {
  return each<i512>([&](int i) { return int32_t(uint32_t(a.v[i]) - uint32_t(b.v[i])); });
}
inline i512 and_si512(i512 a, i512 b) {
  return each<i512>([&](int i) { return a.v[i] & b.v[i]; });
}
inline i512 slli_epi32(i512 a, unsigned n) {
  return each<i512>([&](int i) { return int32_t(uint32_t(a.v[i]) << n); });
}
inline i512 srli_epi32(i512 a, unsigned n) {
  return each<i512>([&](int i) { return int32_t(uint32_t(a.v[i]) >> n); });
}
inline i512 srai_epi32(i512 a, unsigned n) {
  return each<i512>([&](int i) { return a.v[i] >> n; });
}
inline i512 srli_epi16(i512 a, unsigned n) {
  uint16_t words[32];
  std::memcpy(words, a.v, 64);
  for (uint16_t& word : words) word = uint16_t(word >> n);
  return loadu_si512(words);
}
inline int reduce_add_epi32(i512 a) {
  uint32_t sum = 0;
  for (int32_t x : a.v) sum += uint32_t(x);
  return int(sum);
}
// Four unsigned bytes of a times four signed ones of b.
inline i512 dpbusd_epi32(i512 sum, i512 a, i512 b) {
  uint8_t left[64];
  int8_t right[64];
  std::memcpy(left, a.v, 64), std::memcpy(right, b.v, 64);
  return each<i512>([&](int i) {
    int32_t dot = 0;
    for (int k = 0; k < 4; ++k) dot += left[4 * i + k] * right[4 * i + k];
    return int32_t(uint32_t(sum.v[i]) + uint32_t(dot));
  });
}

inline float flushed(float x) { return std::fabs(x) < 1.17549435e-38f ? std::copysign(0.0f, x) : x; }
inline float widened(uint16_t bits) {
  const uint32_t wide = uint32_t(bits) << 16;
  float x;
  std::memcpy(&x, &wide, 4);
  return flushed(x);
}
inline f512 dpbf16_ps(f512 sum, bh512 a, bh512 b) {
  return each<f512>([&](int i) {
    const float odd = flushed(std::fma(widened(a.v[2 * i + 1]), widened(b.v[2 * i + 1]), flushed(sum.v[i])));
    return flushed(std::fma(widened(a.v[2 * i]), widened(b.v[2 * i]), odd));
  });
}

}  // namespace emulated

#define __AVX512F__ 1
#define __m512 emulated::f512
#define __m512i emulated::i512
#define __m512bh emulated::bh512
#define __mmask16 emulated::mask
#undef _mm512_set1_ps
#define _mm512_set1_ps emulated::set1_ps
#undef _mm512_set1_epi32
#define _mm512_set1_epi32 emulated::set1_epi32
#undef _mm512_set1_epi8
#define _mm512_set1_epi8 emulated::set1_epi8
#undef _mm512_setzero_si512
#define _mm512_setzero_si512 emulated::setzero_si512
#undef _mm512_loadu_ps
#define _mm512_loadu_ps emulated::loadu_ps
#undef _mm512_loadu_si512
#define _mm512_loadu_si512 emulated::loadu_si512
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps emulated::maskz_loadu_ps
#undef _mm512_storeu_ps
#define _mm512_storeu_ps emulated::storeu_ps
#undef _mm512_castsi512_ps
#define _mm512_castsi512_ps emulated::castsi512_ps
#undef _mm512_castps_si512
#define _mm512_castps_si512 emulated::castps_si512
#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps emulated::cvtph_ps
#undef _mm512_cvtps_ph
#define _mm512_cvtps_ph emulated::cvtps_ph
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 emulated::cvtps_epi32
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps emulated::cvtepi32_ps
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8 emulated::cvtepi32_epi8
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16 emulated::cvtepi32_epi16
#undef _mm512_add_ps
#define _mm512_add_ps emulated::add_ps
#undef _mm512_sub_ps
#define _mm512_sub_ps emulated::sub_ps
#undef _mm512_mul_ps
#define _mm512_mul_ps emulated::mul_ps
#undef _mm512_div_ps
#define _mm512_div_ps emulated::div_ps
#undef _mm512_max_ps
#define _mm512_max_ps emulated::max_ps
#undef _mm512_min_ps
#define _mm512_min_ps emulated::min_ps
#undef _mm512_fmadd_ps
#define _mm512_fmadd_ps emulated::fmadd_ps
#undef _mm512_fnmadd_ps
#define _mm512_fnmadd_ps emulated::fnmadd_ps
#undef _mm512_abs_ps
#define _mm512_abs_ps emulated::abs_ps
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps emulated::roundscale_ps
#undef _mm512_scalef_ps
#define _mm512_scalef_ps emulated::scalef_ps
#undef _mm512_reduce_add_ps
#define _mm512_reduce_add_ps emulated::reduce_add_ps
#undef _mm512_reduce_max_ps
#define _mm512_reduce_max_ps emulated::reduce_max_ps
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_ps_mask emulated::cmp_ps_mask
#undef _mm512_mask_mov_ps
#define _mm512_mask_mov_ps emulated::mask_mov_ps
#undef _mm512_add_epi32
#define _mm512_add_epi32 emulated::add_epi32
#undef _mm512_sub_epi32
#define _mm512_sub_epi32 emulated::sub_epi32
#undef _mm512_and_si512
#define _mm512_and_si512 emulated::and_si512
#undef _mm512_slli_epi32
#define _mm512_slli_epi32 emulated::slli_epi32
#undef _mm512_srli_epi32
#define _mm512_srli_epi32 emulated::srli_epi32
#undef _mm512_srai_epi32
#define _mm512_srai_epi32 emulated::srai_epi32
#undef _mm512_srli_epi16
#define _mm512_srli_epi16 emulated::srli_epi16
#undef _mm512_reduce_add_epi32
#define _mm512_reduce_add_epi32 emulated::reduce_add_epi32
#undef _mm512_dpbusd_epi32
#define _mm512_dpbusd_epi32 emulated::dpbusd_epi32
#undef _mm512_dpbf16_ps
#define _mm512_dpbf16_ps emulated::dpbf16_ps
// The processor that is emulated multiplies bfloat16, unless the compiler is told otherwise; a function for it needs
// no other target here.
#ifdef INFERLOOM_WITHOUT_BF16
#define __builtin_cpu_supports(extension) false
#else
#define __builtin_cpu_supports(extension) true
#endif
#define target(extension) noinline
