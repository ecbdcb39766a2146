# Compiler and linker flags, as two interface libraries:
#   flags   all code, tests too
#   strict  rooms and programs only, linked PRIVATE. Criterion's macros break these warnings, and
#           a target's own -Wno-... comes before the flags of what it links, so a test could not
#           undo them.
# Hardening belongs to the release build, sanitizers to the builds that ask for them.

include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# Assertions stay on in production, so a release build does not define NDEBUG.
set(CMAKE_C_FLAGS_DEBUG "-g")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")

set(is_gcc $<C_COMPILER_ID:GNU>)
set(is_clang $<C_COMPILER_ID:Clang>)

add_library(flags INTERFACE)
target_compile_definitions(flags INTERFACE _GNU_SOURCE)
target_compile_options(flags INTERFACE
  -Wall -Wextra -Werror -fno-common -fno-omit-frame-pointer)

add_library(strict INTERFACE)
target_compile_options(strict INTERFACE
  -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-qual -Wcast-align -Wstrict-prototypes
  -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wvla -Walloca -Wundef
  -Wformat=2 -Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference -Wdouble-promotion
  -Wfloat-equal)
target_compile_options(strict INTERFACE
  "$<${is_gcc}:-Wcast-align=strict;-Wlogical-op;-Wduplicated-cond;-Wduplicated-branches>"
  "$<${is_gcc}:-Wjump-misses-init;-Wformat-overflow=2;-Wformat-truncation=2;-Wformat-signedness>"
  "$<${is_clang}:-Wcomma;-Wassign-enum;-Wconditional-uninitialized>"
  "$<${is_clang}:-Wmissing-variable-declarations>")

if(CMAKE_BUILD_TYPE STREQUAL "Release")
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
  target_compile_options(flags INTERFACE
    -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection
    -fcf-protection=full "$<${is_gcc}:-ftrivial-auto-var-init=zero>")
  target_link_options(flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
endif()

set(sanitizers ${TALLY_SANITIZE})
if(TALLY_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "TALLY_FUZZ needs clang: use the preset fuzz")
  endif()
  string(JOIN "," sanitizers fuzzer-no-link ${TALLY_SANITIZE})
endif()
if(sanitizers)
  # -O1, for a sanitized test is slow enough. What the sanitizers insert makes gcc see uninitialised
  # values, null pointers and long texts that are not there (its manual says so). The builds
  # without sanitizers keep these warnings, and release, with -O2, sees the most.
  target_compile_options(flags INTERFACE
    -O1 -fsanitize=${sanitizers} -fno-sanitize-recover=all
    "$<${is_gcc}:-Wno-maybe-uninitialized;-Wno-format-truncation;-Wno-format-overflow>")
  # SHELL: keeps CMake from dropping what `flags` says already; here it comes after strict's =2.
  target_compile_options(strict INTERFACE
    "$<${is_gcc}:SHELL:-Wno-null-dereference -Wno-format-truncation -Wno-format-overflow>")
  target_link_options(flags INTERFACE -fsanitize=${sanitizers})
endif()
if(NOT CMAKE_BUILD_TYPE STREQUAL "Release")
  # Without -O2 gcc knows no ranges, and takes any number for one of twenty digits.
  target_compile_options(strict INTERFACE "$<${is_gcc}:SHELL:-Wno-format-truncation>")
endif()
if(TALLY_COVERAGE)
  target_compile_options(flags INTERFACE --coverage)
  target_link_options(flags INTERFACE --coverage)
endif()
if(TALLY_SLOW_ASSERT)
  target_compile_definitions(flags INTERFACE ASSERT_SLOW)
endif()
