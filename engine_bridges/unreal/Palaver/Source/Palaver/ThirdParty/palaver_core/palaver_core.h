// Palaver for any C++ engine: include this, implement `Wire` and `Sink`, and hold a `Session`.
#pragma once

#include "frame.h"
#include "reveal.h"
#include "session.h"
