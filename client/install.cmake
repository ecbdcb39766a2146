# What `cmake --install BUILD` puts into the prefix. Component `sdk`: the library, its header, the
# pkg-config file and the manual page. Component `programs`: the programs (cmake/rooms.cmake).
include(GNUInstallDirs)

# The pkg-config file finds its prefix from where it lies, so that an installed tree can be moved
# and a package can be built under DESTDIR.
file(RELATIVE_PATH TALLY_PC_PREFIX
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" TALLY_PC_PREFIX ${TALLY_PC_PREFIX})
configure_file(tally.pc.in ${CMAKE_CURRENT_BINARY_DIR}/tally.pc @ONLY)

install(TARGETS tally_shared LIBRARY
  DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT sdk NAMELINK_COMPONENT sdk)
install(FILES ${TALLY_BIN_DIR}/libtally.a DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT sdk)
install(FILES tally.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT sdk)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tally.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT sdk)
install(FILES man/tally.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT sdk)
