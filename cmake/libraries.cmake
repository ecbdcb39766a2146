# Third-party libraries, each as an imported target with the name that pkg-config gives it:
# PkgConfig::liburing, PkgConfig::lmdb and so on. Only one file or pair of files includes each
# (tools/tidy has the table).

find_package(PkgConfig REQUIRED)

set(libraries liburing lmdb libxxhash msgpack libpq gmp libmicrohttpd gnutls zlib libcrypto libssl
  yaml-0.1)
if(TALLY_TESTS)
  list(APPEND libraries criterion)
endif()
foreach(library IN LISTS libraries)
  pkg_check_modules(${library} QUIET IMPORTED_TARGET ${library})
  if(NOT ${library}_FOUND)
    message(FATAL_ERROR "${library} is not installed: run tools/deps")
  endif()
endforeach()
