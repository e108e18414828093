// Drawing a token from a row of logits: temperature, top-k, top-p, min-p, then inverse transform.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "vec.h"

namespace inferloom {

struct Filter {
  float temperature;
  float top_p;
  float min_p;
  int32_t top_k;  // 0: all
  double u;       // the draw, in [0, 1)
};

// Filters mostly end among the few heaviest tokens, and sorting the vocabulary costs more than the rest of a
// draw. So only tokens within a few temperatures of the largest logit are sorted, then more, then all.
constexpr float kTails[] = {5.0f, 10.0f, INFINITY};

// Below it, a draw is the largest logit: quotients would leave the numbers that there are.
constexpr float kLeastTemperature = 1e-5f;

// Sixteen logits from place i on, a multiple of 16; minus infinity for what is not finite, not allowed or past the
// width. Bit n of `mask` is set where place n is allowed; null: everything is.
inline f32x16 allowed16(const float* logits, int i, int width, const uint32_t* mask) {
  const f32x16 x = only_finite(load_first(logits + i, std::min(16, width - i)));
  const f32x16 inside = select(lanes(0, width - i), x, set1(-INFINITY));
  return mask == nullptr ? inside : select(from_bits(mask[i / 32] >> i % 32), inside, set1(-INFINITY));
}

// The largest logit that is finite and allowed; minus infinity where there is none.
inline float largest(const float* logits, int width, const uint32_t* mask) {
  f32x16 most = set1(-INFINITY);
  for (int i = 0; i < width; i += 16) most = max(most, allowed16(logits, i, width, mask));
  return reduce_max(most);
}

// The first allowed place of a logit that `largest` found; -1 for minus infinity.
inline int place_of(const float* logits, int width, const uint32_t* mask, float found) {
  if (!(found > -INFINITY)) return -1;
  for (int i = 0;; i += 16) {
    const unsigned same = bits(equal(allowed16(logits, i, width, mask), set1(found)));
    if (same != 0) return i + __builtin_ctz(same);
  }
}

class RowSampler {
 public:
  // Logits that are not finite or not allowed are never drawn; -1 where there is no other.
  int draw(const float* logits, int width, const uint32_t* mask, const Filter& f) {
    const int best = weigh(logits, width, mask, f.temperature);
    if (best < 0 || !(f.temperature >= kLeastTemperature) || f.top_k == 1) return best;
    if (f.top_k == 0 && f.top_p >= 1.0f && f.min_p <= 0.0f) return invert_all(width, f.u);
    for (const float tail : kTails) {
      sort(width, tail);
      const int kept = keep(width, f, tail == INFINITY);
      if (kept > 0) return invert_sorted(kept, f.u);
    }
    return order_[0];
  }

 private:
  // weights_[i] = e^((logit - largest) / temperature), and their sum. Returns the place of the largest.
  int weigh(const float* logits, int width, const uint32_t* mask, float temperature) {
    weights_.resize(width + 16);
    const float most = largest(logits, width, mask);
    if (!(most > -INFINITY)) return -1;
    const f32x16 top = set1(most), inverse = set1(1.0f / std::max(temperature, kLeastTemperature));
    total_ = 0;
    for (int i = 0; i < width; i += 16) {
      const f32x16 logit = allowed16(logits, i, width, mask);
      const f32x16 x = (logit - top) * inverse;
      // Banned tokens are -inf, which exp16 would make merely small, and 0 · inf is NaN, which is not less either.
      const f32x16 e = select(less(set1(-80.0f), x), exp16(x), zero());
      const f32x16 finite = select(less(set1(-INFINITY), logit), e, zero());
      store(weights_.data() + i, finite);
      total_ += reduce_add(finite);
    }
    return place_of(logits, width, mask, most);
  }

  int invert_all(int width, double u) const {
    const double target = u * total_;
    double sum = 0;
    for (int i = 0; i < width; i += 16) {
      const double block = reduce_add(load(weights_.data() + i));
      if (sum + block > target) {
        for (int k = i; k < std::min(i + 16, width); ++k)
          if ((sum += weights_[k]) > target) return k;
      } else {
        sum += block;
      }
    }
    return int(std::max_element(weights_.begin(), weights_.begin() + width) - weights_.begin());
  }

  // The heaviest tokens first; of equals, the first.
  void sort(int width, float tail) {
    const f32x16 least = set1(tail == INFINITY ? -1.0f : std::exp(-tail));
    order_.clear();
    for (int i = 0; i < width; i += 16) {
      unsigned heavy = bits(less(least, load(weights_.data() + i)));
      if (width - i < 16) heavy &= (1u << (width - i)) - 1;
      for (; heavy != 0; heavy &= heavy - 1) order_.push_back(i + __builtin_ctz(heavy));
    }
    std::sort(order_.begin(), order_.end(),
              [this](int a, int b) { return weights_[a] != weights_[b] ? weights_[a] > weights_[b] : a < b; });
  }

  // How many of the sorted tokens pass the filters; 0 if the tokens left out might pass too.
  int keep(int width, const Filter& f, bool everything) const {
    const int sorted = int(order_.size());
    const bool bounded = f.top_k > 0 && f.top_k < width;
    if (!everything && bounded && f.top_k > sorted) return 0;
    const int most = bounded ? f.top_k : sorted;
    double total = total_;
    if (bounded) {
      total = 0;
      for (int i = 0; i < most; ++i) total += weights_[order_[i]];
    }
    const double least = double(f.min_p) * weights_[order_[0]];
    double before = 0;
    int kept = 0;
    for (; kept < most; ++kept) {
      const double w = weights_[order_[kept]];
      if (kept > 0 && (before >= double(f.top_p) * total || w < least)) return kept;
      before += w;
    }
    return everything || bounded ? kept : 0;
  }

  int invert_sorted(int kept, double u) const {
    double total = 0, sum = 0;
    for (int i = 0; i < kept; ++i) total += weights_[order_[i]];
    for (int i = 0; i < kept; ++i)
      if ((sum += weights_[order_[i]]) > u * total) return order_[i];
    while (kept > 1 && weights_[order_[kept - 1]] == 0) --kept;  // u · total may be rounded to total
    return order_[kept - 1];
  }

  std::vector<float> weights_;
  std::vector<int> order_;
  double total_ = 0;
};

}  // namespace inferloom
