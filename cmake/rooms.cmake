# How a room, a program or a test is declared. Paths are relative to the calling folder; includes
# are written from the root of the repository: #include "base/bytes.h".
#
#   tally_room(NAME SOURCES a.c b.c USES base ledger LIBS PkgConfig::lmdb)
#       Static library room_<NAME>. USES are rooms, which its users see too; LIBS are other
#       libraries, which they do not. `sql` is a room of its own here: base/sql.c, so that only
#       those who ask for it link libpq.
#   tally_program(NAME SOURCES main.c USES ingest LIBS m)
#       Executable in TALLY_BIN_DIR: build/bin/ for the preset release, build/<preset>/ for the
#       others. The target `programs` builds them all.
#   tally_test(ROOM MODULE SOURCES module_test.c USES ledger LIBS m TIMEOUT 60)
#       Criterion tests: target test_<ROOM>_<MODULE>, ctest <ROOM>.<MODULE>. The target
#       tests_<ROOM> builds all of a room.
#   tally_race(NAME SOURCES name_race.c USES base)
#       Plain main() for ThreadSanitizer, built and run in every preset but fuzz: target
#       race_<NAME>, ctest race.<NAME>.
#   tally_fuzz(NAME SOURCES name_fuzz.c USES ingest)
#       LLVMFuzzerTestOneInput: target fuzz_<NAME>, ctest fuzz.<NAME>. The preset fuzz searches for
#       some seconds, starting from tests/fuzz/corpus/<NAME>; the others replay that corpus.
#   tally_script_test(system.import COMMAND python3 import_test.py TIMEOUT 120)
#       A test that is a program or a script, run in the calling folder; COMMAND may name a target.
#
# Every test sees TALLY_SOURCE_DIR and TALLY_BIN_DIR in its environment and fails when a sanitizer
# reports. Criterion does not run under ThreadSanitizer, so the preset tsan has the race programs
# only.

set(TALLY_TEST_TIMEOUT 300)
set(TALLY_FUZZ_SECONDS 20)

# The arrows of DESIGN section 2. tools/tidy holds the same arrows for #include.
set(tally_arrows_base "")
set(tally_arrows_sql base)
set(tally_arrows_client base)
set(tally_arrows_ledger base)
set(tally_arrows_ingest base ledger)
set(tally_arrows_billing base sql ledger)
set(tally_arrows_api base sql client ledger billing)
set(tally_arrows_bench base sql client ledger ingest billing)
set(tally_arrows_tools base sql client ledger billing)

add_custom_target(programs)

# Stops the configuration when `room` uses a room that it may not.
function(tally_check_arrows room)
  if(NOT DEFINED tally_arrows_${room})
    message(FATAL_ERROR "${room} is not a room of DESIGN section 2")
  endif()
  foreach(used IN LISTS ARGN)
    if(NOT used STREQUAL room AND NOT used IN_LIST tally_arrows_${room})
      message(FATAL_ERROR "${room} may not use ${used}; it may use: ${tally_arrows_${room}}")
    endif()
  endforeach()
endfunction()

# A missing file stops the build of its own target and not the configuration of the whole tree, so
# that rooms can be written side by side.
function(tally_expect)
  foreach(source IN LISTS ARGN)
    cmake_path(ABSOLUTE_PATH source OUTPUT_VARIABLE path)
    if(NOT EXISTS ${path})
      message(WARNING "${path} does not exist")
      set_source_files_properties(${path} PROPERTIES GENERATED TRUE)
    endif()
  endforeach()
endfunction()

function(tally_link target scope)
  foreach(used IN LISTS ARGN)
    if(TARGET room_${used})
      target_link_libraries(${target} ${scope} room_${used})
    else()
      message(WARNING "${target} uses the room ${used}, which does not exist")
    endif()
  endforeach()
endfunction()

function(tally_room NAME)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SOURCES;USES;LIBS")
  tally_check_arrows(${NAME} ${ARG_USES})
  tally_expect(${ARG_SOURCES})
  add_library(room_${NAME} STATIC ${ARG_SOURCES})
  target_include_directories(room_${NAME} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(room_${NAME} PRIVATE flags strict ${ARG_LIBS})
  tally_link(room_${NAME} PUBLIC ${ARG_USES})
endfunction()

function(tally_program NAME)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SOURCES;USES;LIBS")
  cmake_path(GET CMAKE_CURRENT_SOURCE_DIR FILENAME room)
  tally_check_arrows(${room} ${ARG_USES})
  tally_expect(${ARG_SOURCES})
  add_executable(${NAME} ${ARG_SOURCES})
  set_target_properties(${NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${TALLY_BIN_DIR})
  target_include_directories(${NAME} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${NAME} PRIVATE flags strict ${ARG_LIBS})
  tally_link(${NAME} PRIVATE ${ARG_USES})
  add_dependencies(programs ${NAME})
  install(TARGETS ${NAME} RUNTIME DESTINATION bin COMPONENT programs)
endfunction()

# What every test executable has: no `strict`, and a place of its own.
function(tally_test_executable target output sources uses libs)
  tally_expect(${sources})
  add_executable(${target} ${sources})
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME ${output} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE flags ${libs})
  tally_link(${target} PRIVATE ${uses})
endfunction()

# What every ctest has. A leak does not fail a Criterion program, but it prints "LeakSanitizer:".
function(tally_test_properties test timeout)
  if(NOT timeout)
    set(timeout ${TALLY_TEST_TIMEOUT})
  endif()
  set_tests_properties(${test} PROPERTIES
    FAIL_REGULAR_EXPRESSION "Sanitizer:|runtime error:"
    TIMEOUT ${timeout}
    ENVIRONMENT "TALLY_SOURCE_DIR=${CMAKE_SOURCE_DIR};TALLY_BIN_DIR=${TALLY_BIN_DIR}")
endfunction()

# Whether this build runs more than race programs and fuzz targets.
function(tally_wants_tests out_wants)
  set(${out_wants} ON PARENT_SCOPE)
  if(TALLY_FUZZ OR TALLY_SANITIZE MATCHES "thread")
    set(${out_wants} OFF PARENT_SCOPE)
  endif()
endfunction()

function(tally_test ROOM MODULE)
  cmake_parse_arguments(PARSE_ARGV 2 ARG "" "TIMEOUT" "SOURCES;USES;LIBS")
  tally_wants_tests(wants)
  if(NOT wants)
    return()
  endif()
  set(target test_${ROOM}_${MODULE})
  tally_test_executable(
    ${target} ${ROOM}.${MODULE} "${ARG_SOURCES}" "${ARG_USES}" "${ARG_LIBS};PkgConfig::criterion")
  if(NOT TARGET tests_${ROOM})
    add_custom_target(tests_${ROOM})
  endif()
  add_dependencies(tests_${ROOM} ${target})
  add_test(NAME ${ROOM}.${MODULE} COMMAND ${target})
  tally_test_properties(${ROOM}.${MODULE} "${ARG_TIMEOUT}")
endfunction()

function(tally_race NAME)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "TIMEOUT" "SOURCES;USES;LIBS")
  if(TALLY_FUZZ)
    return()
  endif()
  tally_test_executable(
    race_${NAME} race.${NAME} "${ARG_SOURCES}" "${ARG_USES}" "${ARG_LIBS}")
  add_test(NAME race.${NAME} COMMAND race_${NAME})
  tally_test_properties(race.${NAME} "${ARG_TIMEOUT}")
endfunction()

function(tally_fuzz NAME)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "TIMEOUT" "SOURCES;USES;LIBS")
  set(corpus ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${NAME})
  set(target fuzz_${NAME})
  if(TALLY_FUZZ)
    tally_test_executable(
      ${target} fuzz.${NAME} "${ARG_SOURCES}" "${ARG_USES}" "${ARG_LIBS}")
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    set(found ${CMAKE_BINARY_DIR}/found/${NAME})
    file(MAKE_DIRECTORY ${found})
    # libFuzzer writes what it finds into the first folder, so the corpus comes second.
    add_test(NAME fuzz.${NAME} COMMAND ${target}
      -max_total_time=${TALLY_FUZZ_SECONDS} -timeout=10 -artifact_prefix=${found}/
      ${found} ${corpus})
  else()
    tally_wants_tests(wants)
    if(NOT wants)
      return()
    endif()
    tally_test_executable(
      ${target} fuzz.${NAME} "${ARG_SOURCES};${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c"
      "${ARG_USES}" "${ARG_LIBS}")
    add_test(NAME fuzz.${NAME} COMMAND ${target} ${corpus})
  endif()
  tally_test_properties(fuzz.${NAME} "${ARG_TIMEOUT}")
endfunction()

function(tally_script_test NAME)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "TIMEOUT" "COMMAND")
  tally_wants_tests(wants)
  if(NOT wants)
    return()
  endif()
  add_test(NAME ${NAME} COMMAND ${ARG_COMMAND} WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
  tally_test_properties(${NAME} "${ARG_TIMEOUT}")
endfunction()
