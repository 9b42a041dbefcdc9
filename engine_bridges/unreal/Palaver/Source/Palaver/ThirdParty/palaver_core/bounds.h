// Bounds and times of the core. Nothing in it grows beyond these, whatever a server sends.
#pragma once

#include <cstddef>
#include <cstdint>

namespace palaver {

/// Milliseconds of any clock that only goes forward. The core never asks for the time: every call
/// that needs it is told.
using Millis = std::int64_t;

inline constexpr int kProtocol = 1;
inline constexpr const char* kSubprotocol = "palaver.v1";
inline constexpr const char* kVersion = "0.1.0";

// What is read.
inline constexpr std::size_t kMaxMessageBytes = 256 * 1024;  ///< A larger message is thrown away.
inline constexpr std::size_t kMaxNodes = 16 * 1024;          ///< Values in one message.
inline constexpr int kMaxDepth = 32;                         ///< Arrays and objects in each other.
inline constexpr std::size_t kMaxTextBytes = 32'000;         ///< Text of a turn: 8,000 code points.

// What is kept.
inline constexpr std::size_t kMessageBytes = 60'000;           ///< Until the server says its limit.
inline constexpr std::size_t kMaxTurns = 64;                   ///< Turns that are not over.
inline constexpr std::size_t kMaxWaiting = 256;                ///< Messages not yet confirmed.
inline constexpr std::size_t kMaxWaitingBytes = 1024 * 1024;   ///< The same, in bytes.
inline constexpr std::size_t kMaxStateBytes = 4 * 1024 * 1024;  ///< What a reset sends again.
inline constexpr std::size_t kMaxCalls = 128;                  ///< Actions that wait for a verdict.
inline constexpr std::size_t kMaxLines = 1024;                 ///< Canned lines, all NPCs together.
inline constexpr std::size_t kMaxVoices = 64;                  ///< Pieces of speech of one reply.
inline constexpr std::size_t kMaxIdBytes = 512;                ///< 128 characters of UTF-8.

// When. The first four are those of the Python client.
inline constexpr Millis kPingMs = 15'000;     ///< After this long without sending, a ping.
inline constexpr Millis kPongMs = 10'000;     ///< For the answer; then the line is dead.
inline constexpr Millis kConnectMs = 10'000;  ///< For connecting and opening the session together.
inline constexpr Millis kStableMs = 5'000;    ///< A connection this old starts the waits anew.
inline constexpr Millis kRetryBaseMs = 250;
inline constexpr Millis kRetryCapMs = 10'000;
inline constexpr Millis kAwayMs = 1'500;      ///< Without a connection, until a canned line.
inline constexpr Millis kAnswerMs = 8'000;    ///< With one, until the first text.
inline constexpr Millis kQuietMs = 60'000;    ///< Between two messages of a turn that has begun.

}  // namespace palaver
