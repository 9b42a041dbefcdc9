// The unit tests of the core, with doctest.

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#define DOCTEST_CONFIG_NO_EXCEPTIONS_BUT_WITH_ALL_ASSERTS

#include "units_json.h"
#include "units_parts.h"
#include "units_reveal.h"
#include "units_session.h"
