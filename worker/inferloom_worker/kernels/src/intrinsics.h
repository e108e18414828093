// The processor's instructions as functions.
#pragma once

// GCC 12 says of its own header's "undefined" registers that they may be uninitialized, wherever one is inlined. That
// is what they are for; what the kernels leave uninitialized is still told.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
