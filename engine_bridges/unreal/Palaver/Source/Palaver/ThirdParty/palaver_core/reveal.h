// Text that appears as it is spoken: by characters, or by the length of the speech; and how much of
// it was heard when somebody interrupts.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bounds.h"
#include "utf8.h"

namespace palaver {

/// The text of one reply. Offsets count code points, as those of the protocol do.
class Reveal {
public:
    /// @param per_s       Characters per second, where no speech says otherwise.
    /// @param wait_voice  Hold text back until its speech is there, or `without_voice` is called.
    explicit Reveal(std::int64_t per_s = 30, bool wait_voice = false)
        : per_s_((std::clamp)(per_s, std::int64_t{1}, std::int64_t{10'000})),
          wait_voice_(wait_voice) {}

    /// Text has come.
    void add(std::string_view piece) {
        const std::string_view fits = first_code_points(piece, kMaxTextBytes);
        if (text_.size() + fits.size() <= kMaxTextBytes && !stopped_) {
            text_.append(fits);
            points_ += count_code_points(fits);
        }
    }

    /// No more text will come.
    void finish() { finished_ = true; }

    /// Speech of the text from `start`, `size` code points long, is there and lasts `length_ms`. It
    /// begins when all before it was shown. Pieces must come in the order of the text.
    bool voice(std::size_t start, std::size_t size, Millis length_ms) {
        if (voices_.size() >= kMaxVoices || size == 0 || start < voiced_) {
            return false;
        }
        voiced_ = start + size;
        voices_.push_back({start, voiced_, (std::clamp)(length_ms, Millis{1}, Millis{600'000})});
        return true;
    }
    /// There will be no further speech: the rest appears by characters.
    void without_voice() { wait_voice_ = false; }

    /// Lets time pass and returns the text that appears by it; it holds until the next call.
    std::string_view tick(Millis now) {
        const std::size_t before = bytes_;
        Millis left = begun_ ? (std::max)(Millis{0}, now - now_) : 0;
        begun_ = true;
        now_ = (std::max)(now_, now);
        while (left > 0 && !stopped_ && shown_ < points_) {
            left = voices_.empty() || shown_ < voices_.front().start ? by_characters(left)
                                                                     : by_voice(left);
        }
        if (shown_ >= points_) {
            // Time that passes while there is nothing to show is not made up for later.
            credit_ = 0;
        }
        return std::string_view(text_).substr(before, bytes_ - before);
    }

    /// Shows all that is there at once: the player pressed a key.
    std::string_view skip() {
        const std::size_t before = bytes_;
        voices_.clear();
        show(points_);
        return std::string_view(text_).substr(before);
    }

    /// Somebody interrupts: nothing more appears. Returns what was heard, for `Session::cancel`.
    std::string_view interrupt() {
        stopped_ = true;
        return heard();
    }

    /// What was shown or spoken so far.
    std::string_view heard() const { return std::string_view(text_).substr(0, bytes_); }
    std::size_t heard_chars() const { return shown_; }
    /// Whether all of it was shown, or it was interrupted: time for `Session::heard`.
    bool is_over() const { return stopped_ || (finished_ && shown_ >= points_); }
    const std::string& text() const { return text_; }

private:
    struct Voice {
        std::size_t start, end;
        Millis length;
        Millis played = 0;
    };

    void show(std::size_t upto) {
        upto = (std::min)(upto, points_);
        if (upto > shown_) {
            bytes_ = skip_code_points(text_, bytes_, upto - shown_);
            shown_ = upto;
        }
    }

    /// Returns the time that is left over, for the speech behind.
    Millis by_characters(Millis left) {
        if (voices_.empty() && wait_voice_) {
            return 0;
        }
        const std::size_t upto = voices_.empty() ? points_ : (std::min)(points_, voices_[0].start);
        const auto missing = static_cast<std::int64_t>(upto - shown_);
        const std::int64_t needed = (missing * 1'000 - credit_ + per_s_ - 1) / per_s_;
        if (left < needed) {
            credit_ += left * per_s_;
            show(shown_ + static_cast<std::size_t>(credit_ / 1'000));
            credit_ %= 1'000;
            return 0;
        }
        credit_ = 0;
        show(upto);
        return left - needed;
    }

    Millis by_voice(Millis left) {
        Voice& voice = voices_.front();
        const Millis spent = (std::min)(left, voice.length - voice.played);
        voice.played += spent;
        const auto size = static_cast<Millis>(voice.end - voice.start);
        show(voice.start + static_cast<std::size_t>(size * voice.played / voice.length));
        if (voice.played < voice.length) {
            return 0;
        }
        voices_.erase(voices_.begin());
        return left - spent;
    }

    std::string text_;
    std::vector<Voice> voices_;
    std::size_t points_ = 0;   ///< Code points of the text.
    std::size_t shown_ = 0;    ///< Code points shown.
    std::size_t bytes_ = 0;    ///< The same, in bytes.
    std::size_t voiced_ = 0;   ///< Where the last piece of speech ends.
    std::int64_t per_s_;
    std::int64_t credit_ = 0;  ///< Thousandths of a character.
    Millis now_ = 0;
    bool wait_voice_;
    bool begun_ = false;
    bool finished_ = false;
    bool stopped_ = false;
};

}  // namespace palaver
