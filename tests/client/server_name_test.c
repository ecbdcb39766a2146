#include "client/server_name.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

Test(server_name, reads_hosts_and_paths)
{
    static const struct {
        const char *text;
        bool is_unix;
        const char *host, *port, *path;
    } rows[] = {
        {"127.0.0.1:24224",      false, "127.0.0.1", "24224", ""               },
        {"localhost:1",          false, "localhost", "1",     ""               },
        {"[::1]:65535",          false, "::1",       "65535", ""               },
        {"::1:80",               false, "::1",       "80",    ""               },
        {"unix:/run/tally.sock", true,  "",          "",      "/run/tally.sock"},
        {"unix:relative",        true,  "",          "",      "relative"       },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct server_name name;
        struct error error = {0};
        cr_assert_eq(server_name_parse(rows[i].text, &name, &error), STATUS_OK, "%s", error.text);
        cr_assert_eq(name.is_unix, rows[i].is_unix);
        cr_assert_str_eq(name.host, rows[i].host);
        cr_assert_str_eq(name.port, rows[i].port);
        cr_assert_str_eq(name.path, rows[i].path);
    }
}

Test(server_name, refuses_what_names_no_server)
{
    static const char *const rows[] = {
        "",
        "localhost",
        ":24224",
        "[]:24224",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:-1",
        "localhost:+1",
        "localhost: 1",
        "localhost:24224x",
        "localhost:000001",
        "unix:",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct server_name name;
        struct error error = {0};
        cr_assert_eq(server_name_parse(rows[i], &name, &error), STATUS_INVALID, "\"%s\"", rows[i]);
        cr_assert_neq(error.text[0], '\0');
    }
}

Test(server_name, refuses_a_path_that_no_system_call_takes)
{
    char text[PATH_MAX + 16] = "unix:";
    struct server_name name;
    memset(text + 5, 'a', PATH_MAX - 1);
    cr_assert_eq(server_name_parse(text, &name, NULL), STATUS_OK);
    memset(text + 5, 'a', PATH_MAX);
    cr_assert_eq(server_name_parse(text, &name, NULL), STATUS_INVALID);
}

Test(server_name, resolves_a_number_to_itself)
{
    struct server_name name;
    scoped(server_addresses_done) struct server_addresses addresses = {.directory_fd = -1};
    cr_assert_eq(server_name_parse("127.0.0.1:24224", &name, NULL), STATUS_OK);
    cr_assert_eq(server_name_resolve(&name, &addresses, NULL), STATUS_OK);
    cr_assert_eq(addresses.count, 1);
    struct sockaddr_in in;
    memcpy(&in, &addresses.items[0].storage, sizeof in);
    cr_assert_eq(in.sin_family, AF_INET);
    cr_assert_eq(ntohs(in.sin_port), 24224);
    cr_assert_eq(ntohl(in.sin_addr.s_addr), INADDR_LOOPBACK);
}

// Binds where the addresses say, and looks whether the socket lies at the path.
static void
assert_reaches(const char *path)
{
    char text[PATH_MAX + 8];
    struct server_name name;
    struct error error = {0};
    struct stat info;
    scoped(server_addresses_done) struct server_addresses addresses = {.directory_fd = -1};
    (void)snprintf(text, sizeof text, "unix:%s", path);
    cr_assert_eq(server_name_parse(text, &name, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(server_name_resolve(&name, &addresses, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(addresses.count, 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const struct server_address *item = &addresses.items[0];
    cr_assert_eq(bind(fd, (const struct sockaddr *)&item->storage, item->size), 0);
    cr_assert_eq(stat(path, &info), 0, "%s", path);
    cr_assert(S_ISSOCK(info.st_mode));
    close(fd);
    unlink(path);
}

Test(server_name, reaches_unix_sockets_with_paths_of_any_length)
{
    char directory[] = "/tmp/tally-name-XXXXXX";
    char path[512];
    cr_assert_not_null(mkdtemp(directory));
    // 107 bytes are what a socket address holds: one less, just that, one more, and far more.
    static const size_t sizes[] = {106, 107, 108, 109, 300};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int at = snprintf(path, sizeof path, "%s/", directory);
        size_t folder = sizes[i] - (size_t)at - 2;
        memset(path + at, 'd', folder);
        path[(size_t)at + folder] = '\0';
        if (folder > 200)
            path[at + 150] = '/';
        char *slash = folder > 200 ? path + at + 150 : NULL;
        if (slash != NULL) {
            *slash = '\0';
            cr_assert_eq(mkdir(path, 0700), 0);
            *slash = '/';
        }
        cr_assert_eq(mkdir(path, 0700), 0);
        size_t end = strlen(path);
        memcpy(path + end, "/s", 3);
        cr_assert_eq(strlen(path), sizes[i]);
        assert_reaches(path);
        path[end] = '\0';
        cr_assert_eq(rmdir(path), 0);
        if (slash != NULL) {
            *slash = '\0';
            cr_assert_eq(rmdir(path), 0);
        }
    }
    cr_assert_eq(rmdir(directory), 0);
}

Test(server_name, says_that_a_long_path_has_no_directory)
{
    char text[256] = "unix:/nowhere/";
    struct server_name name;
    struct error error = {0};
    struct server_addresses addresses;
    memset(text + strlen(text), 'x', 150);
    cr_assert_eq(server_name_parse(text, &name, &error), STATUS_OK);
    cr_assert_eq(server_name_resolve(&name, &addresses, &error), STATUS_IO);
    cr_assert_not_null(strstr(error.text, "/nowhere/"));
    cr_assert_eq(addresses.directory_fd, -1);
}
