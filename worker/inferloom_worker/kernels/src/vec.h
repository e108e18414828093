// Sixteen float32 lanes, whatever registers the processor has. Everything but the products is written in these.
#pragma once

#include <cmath>
#include <cstring>

#ifdef __AVX512F__
#include "vec512.h"
#elif defined(__AVX2__)
#include "vec256.h"
#else
#include "vec_generic.h"
#endif

namespace inferloom {

inline f32x16 zero() { return set1(0.0f); }
#ifdef __AVX2__
inline float f16_to_f32(uint16_t h) { return _cvtsh_ss(h); }
inline uint16_t f32_to_f16(float f) { return _cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT); }
#endif

// Minus infinity in place of what is no finite number.
inline f32x16 only_finite(f32x16 x) { return select(less(abs(x), set1(INFINITY)), x, set1(-INFINITY)); }

// e^x to about 2 ulp: x = n·ln 2 + r, |r| <= ln 2 / 2, and a polynomial of degree 6 in r. The constants are those
// of the Cephes library's expf.
inline f32x16 exp16(f32x16 x) {
  x = min(max(x, set1(-87.3f)), set1(88.0f));
  const f32x16 n = nearest(x * set1(1.44269504f));
  const f32x16 r = fnma(n, set1(-2.12194440e-4f), fnma(n, set1(0.693359375f), x));
  f32x16 y = set1(1.9875691500e-4f);
  y = fma(y, r, set1(1.3981999507e-3f));
  y = fma(y, r, set1(8.3334519073e-3f));
  y = fma(y, r, set1(4.1665795894e-2f));
  y = fma(y, r, set1(1.6666665459e-1f));
  y = fma(y, r, set1(5.0000001201e-1f));
  y = fma(y, r * r, r + set1(1.0f));
  return times_power_of_2(y, n);
}

// gelu(x) = x / 2 · (1 + erf(x / √2)); erf after Abramowitz and Stegun, 7.1.26, to 1.5e-7.
inline f32x16 gelu16(f32x16 x) {
  const f32x16 one = set1(1.0f), z = x * set1(0.70710678f), a = abs(z);
  const f32x16 t = one / fma(a, set1(0.3275911f), one);
  f32x16 p = set1(1.061405429f);
  p = fma(p, t, set1(-1.453152027f));
  p = fma(p, t, set1(1.421413741f));
  p = fma(p, t, set1(-0.284496736f));
  p = fma(p, t, set1(0.254829592f));
  const f32x16 erf = fnma(p * t, exp16(zero() - a * a), one);
  return x * set1(0.5f) * (one + select(less(z, zero()), zero() - erf, erf));
}

// gelu(x) ≈ x / 2 · (1 + tanh(y)), y = √(2/π) · (x + 0.044715 x³); the whole is x / (1 + e^-2y).
inline f32x16 gelu_tanh16(f32x16 x) {
  const f32x16 y = x * fma(x * x, set1(0.044715f * 0.79788456f), set1(0.79788456f));
  return x / (set1(1.0f) + exp16(set1(-2.0f) * y));
}

// silu(x) = x / (1 + e^-x)
inline f32x16 silu16(f32x16 x) { return x / (set1(1.0f) + exp16(zero() - x)); }

}  // namespace inferloom
