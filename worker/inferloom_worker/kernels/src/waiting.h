// Waiting for a word of memory to change: by a futex on Linux, by a condition elsewhere.
#pragma once

#include <atomic>
#include <cstdint>

#if defined(__linux__) && !defined(IL_NO_FUTEX)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#else
#include <condition_variable>
#include <mutex>
#endif

namespace inferloom {

// Says to the processor that a loop waits.
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Those who wait. A word is changed before they are woken.
class Waiters {
 public:
#if defined(__linux__) && !defined(IL_NO_FUTEX)
  // Returns at once if the word is something else; may return early.
  void sleep(std::atomic<uint32_t>& word, uint32_t while_it_is) {
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, while_it_is, nullptr, nullptr, 0);
  }
  void wake(std::atomic<uint32_t>& word) {
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }
#else
  void sleep(std::atomic<uint32_t>& word, uint32_t while_it_is) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return word.load() != while_it_is; });
  }
  void wake(std::atomic<uint32_t>&) {
    // Who has looked at the word and does not wait yet holds the lock.
    {
      std::lock_guard<std::mutex> lock(mutex_);
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
#endif
};

}  // namespace inferloom
