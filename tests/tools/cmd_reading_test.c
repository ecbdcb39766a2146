// `tally usage`, `tally ledger` and `tally meter`, as a person would call them, on a small real
// ledger.

#include "base/clock.h"
#include "base/json.h"
#include "tests/ledger/reading.h"
#include "tools/command.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS_MAX = 24 };

typedef int (*command_fn)(int argc, char **argv);

struct ran {
    int code;
    char out[16384];
    char err[4096];
};

static void
read_back(FILE *file, char *text, size_t size)
{
    rewind(file);
    size_t count = fread(text, 1, size - 1, file);
    text[count] = '\0';
    fclose(file);
}

// Runs a command line whose words are parted by single spaces; --data DIR is added.
static struct ran
run(const struct reading *reading, command_fn command, const char *line)
{
    struct ran ran = {0};
    char words[512];
    char *argv[WORDS_MAX + 3];
    int argc = 0;
    snprintf(words, sizeof words, "%s --data %s", line, reading->dir);
    char *rest = words;
    for (char *word; (word = strsep(&rest, " ")) != NULL;) {
        cr_assert_lt(argc, WORDS_MAX);
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    FILE *out = tmpfile();
    FILE *err = tmpfile();
    int saved_out = dup(STDOUT_FILENO);
    int saved_err = dup(STDERR_FILENO);
    fflush(NULL);
    dup2(fileno(out), STDOUT_FILENO);
    dup2(fileno(err), STDERR_FILENO);
    ran.code = command(argc, argv);
    fflush(NULL);
    dup2(saved_out, STDOUT_FILENO);
    dup2(saved_err, STDERR_FILENO);
    close(saved_out);
    close(saved_err);
    read_back(out, ran.out, sizeof ran.out);
    read_back(err, ran.err, sizeof ran.err);
    return ran;
}

static void
put(struct reading *reading, const char *subject, const char *time, int64_t value)
{
    char id[24];
    int64_t time_ns;
    cr_assert_eq(clock_parse(bytes_text(time), &time_ns), STATUS_OK);
    snprintf(id, sizeof id, "e%d", (int)reading->serial++);
    const struct event event = {
        .subject = bytes_text(subject),
        .type = bytes_text("job"),
        .id = bytes_text(id),
        .time_ns = time_ns,
        .value = decimal_from_int(value),
    };
    reading_put(reading, &event);
}

static void
fill(struct reading *reading)
{
    unsetenv("DATABASE_URL");
    unsetenv("TALLY_DATA");
    reading_begin(reading, 1);
    reading_write_begin(reading, HOUR_NS);
    reading_put_meter(reading, "jobs");
    reading_put_meter(reading, "tokens");
    put(reading, "acme", "2026-10-31T23:59:59Z", 5);
    put(reading, "acme", "2026-11-01", 10);
    put(reading, "acme", "2026-11-02T12:00:00Z", 20);
    put(reading, "zeta", "2026-11-02T12:00:00Z", 1);
    reading_write_end(reading);
}

struct usage_line {
    const char *line;
    const char *out;
};

Test(cmd_reading, usage_answers_in_three_forms)
{
    // clang-format off
    static const struct usage_line lines[] = {
        {"usage --meter jobs --format tsv",
         "subject\tfrom\tto\tjobs\tevents\nacme\t\t\t35\t3\nzeta\t\t\t1\t1\n"},
        {"usage --meter jobs --subject acme --period 2026-11 --format tsv",
         "subject\tfrom\tto\tjobs\tevents\n"
         "acme\t2026-11-01T00:00:00Z\t2026-12-01T00:00:00Z\t30\t2\n"},
        {"usage --meter jobs --subject acme --window month --format tsv",
         "subject\tfrom\tto\tjobs\tevents\n"
         "acme\t2026-10-01T00:00:00Z\t2026-11-01T00:00:00Z\t5\t1\n"
         "acme\t2026-11-01T00:00:00Z\t2026-12-01T00:00:00Z\t30\t2\n"},
        {"usage --meter jobs --from 2026-11-02 --to 2026-11-02T12:00:00.000000001Z --subject zeta "
         "--format json",
         "{\"meter\":\"jobs\",\"aggregation\":\"sum\",\"unit\":null,"
         "\"from\":\"2026-11-02T00:00:00Z\",\"to\":\"2026-11-02T12:00:00.000000001Z\","
         "\"rows\":[{\"subject\":\"zeta\",\"from\":\"2026-11-02T00:00:00Z\","
         "\"to\":\"2026-11-02T12:00:00.000000001Z\",\"dimensions\":{},\"value\":\"1\","
         "\"count\":1}]}\n"},
        {"usage --meter jobs --subject nobody", "no usage\n"},
        {"usage --meter jobs --subject zeta --subject acme --subject nobody --format tsv",
         "subject\tfrom\tto\tjobs\tevents\nacme\t\t\t35\t3\nzeta\t\t\t1\t1\n"},
        {"usage --meter jobs --total --from 2026-11-01 --format tsv",
         "subject\tfrom\tto\tjobs\tevents\n\t2026-11-01T00:00:00Z\t\t31\t3\n"},
        {"usage --meter jobs --where {\"subject\":{\"$like\":\"a%\"}} --format tsv",
         "subject\tfrom\tto\tjobs\tevents\nacme\t\t\t35\t3\n"},
        // 2026-10-31T23:59:59Z is in November, in Berlin and in Kathmandu.
        {"usage --meter jobs --subject acme --window month --zone Europe/Berlin --format tsv",
         "subject\tfrom\tto\tjobs\tevents\n"
         "acme\t2026-10-31T23:00:00Z\t2026-11-30T23:00:00Z\t35\t3\n"},
        {"usage --meter jobs --subject acme --window day --zone Asia/Kathmandu --format tsv",
         "subject\tfrom\tto\tjobs\tevents\n"
         "acme\t2026-10-31T18:15:00Z\t2026-11-01T18:15:00Z\t15\t2\n"
         "acme\t2026-11-01T18:15:00Z\t2026-11-02T18:15:00Z\t20\t1\n"},
        {"usage --meter jobs --window minute --zone Europe/Berlin --subject acme --to 2026-11-01 "
         "--format tsv",
         "subject\tfrom\tto\tjobs\tevents\n"
         "acme\t2026-10-31T23:59:00Z\t2026-11-01T00:00:00Z\t5\t1\n"},
        {"usage --meter tokens --filter region=eu --where {\"model\":{\"$gt\":\"\"}}",
         "no usage\n"},
        {"usage --meter jobs --subject nobody --format json",
         "{\"meter\":\"jobs\",\"aggregation\":\"sum\",\"unit\":null,\"from\":null,\"to\":null,"
         "\"rows\":[]}\n"},
        {"usage --meter tokens --group-by model --group-by region --filter region=eu --format tsv",
         "subject\tfrom\tto\tmodel\tregion\ttokens\tevents\n"},
    };
    // clang-format on
    struct reading reading;
    fill(&reading);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct ran ran = run(&reading, cmd_usage, lines[i].line);
        cr_assert_eq(ran.code, EXIT_OK, "%s: %s", lines[i].line, ran.err);
        cr_assert_str_eq(ran.out, lines[i].out, "%s:\n%s", lines[i].line, ran.out);
    }
    struct ran table = run(&reading, cmd_usage, "usage --meter jobs");
    cr_assert_not_null(strstr(table.out, "acme"));
    cr_assert_not_null(strstr(table.out, "35"));
    reading_end(&reading);
}

Test(cmd_reading, events_are_listed_in_three_forms)
{
    // clang-format off
    static const struct usage_line lines[] = {
        {"events --subject acme --to 2026-11-01 --format tsv",
         "time\tarrival\tsubject\ttype\tid\tsource\tvalue\tstatus\terror\n"
         "2026-10-31T23:59:59Z\t2026-11-10T00:00:00Z\tacme\tjob\te0\t\t5\tcounted\t\n"},
        {"events --id e3 --format json",
         "{\"events\":[{\"time\":\"2026-11-02T12:00:00Z\",\"arrival\":\"2026-11-10T00:00:00Z\","
         "\"subject\":\"zeta\",\"type\":\"job\",\"id\":\"e3\",\"source\":\"\",\"value\":\"1\","
         "\"properties\":{},\"status\":\"counted\",\"validation_error\":null}],\"next\":null}\n"},
        {"events --type llm", "no events\n"},
        {"events --id-part 1 --arrived-from 2026-11-10 --arrived-to 2026-11-11 --format tsv",
         "time\tarrival\tsubject\ttype\tid\tsource\tvalue\tstatus\terror\n"
         "2026-11-01T00:00:00Z\t2026-11-10T00:00:00Z\tacme\tjob\te1\t\t10\tcounted\t\n"},
        {"events --source elsewhere --from 2026-11-01", "no events\n"},
    };
    // clang-format on
    struct reading reading;
    fill(&reading);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct ran ran = run(&reading, cmd_events, lines[i].line);
        cr_assert_eq(ran.code, EXIT_OK, "%s: %s", lines[i].line, ran.err);
        cr_assert_str_eq(ran.out, lines[i].out, "%s:\n%s", lines[i].line, ran.out);
    }
    struct ran first = run(&reading, cmd_events, "events --limit 3");
    const char *after = strstr(first.err, "--after ");
    char line[128];
    cr_assert_not_null(after, "%s", first.err);
    cr_assert_not_null(strstr(first.out, "zeta"));
    snprintf(line, sizeof line, "events %s", after);
    line[strcspn(line, "\n")] = '\0';
    struct ran second = run(&reading, cmd_events, line);
    cr_assert_eq(second.code, EXIT_OK, "%s", second.err);
    cr_assert_not_null(strstr(second.out, "e0"));
    cr_assert_null(strstr(second.out, "e1"));
    cr_assert_str_empty(second.err);
    reading_end(&reading);
}

Test(cmd_reading, a_customer_without_a_database_is_its_own_subject)
{
    struct reading reading;
    fill(&reading);
    struct ran ran = run(&reading, cmd_usage, "usage --meter jobs --customer zeta --format tsv");
    cr_assert_eq(ran.code, EXIT_OK, "%s", ran.err);
    cr_assert_not_null(strstr(ran.out, "zeta\t\t\t1\t1\n"), "%s", ran.out);
    cr_assert_not_null(strstr(ran.err, "notice"), "%s", ran.err);
    reading_end(&reading);
}

struct refusal {
    command_fn command;
    const char *line;
    int code;
    const char *err;
};

Test(cmd_reading, refusals_say_what_is_allowed)
{
    // clang-format off
    static const struct refusal refusals[] = {
        {cmd_usage, "usage", EXIT_USAGE, "meter"},
        {cmd_usage, "usage --meter nothing", EXIT_FAILED, "nothing"},
        {cmd_usage, "usage --meter jobs --window week", EXIT_USAGE, "quarter-hour"},
        {cmd_usage, "usage --meter jobs --period 2026-13", EXIT_USAGE, "2026-13"},
        {cmd_usage, "usage --meter jobs --period 2026-11-01", EXIT_USAGE, "no month"},
        {cmd_usage,
         "usage --meter jobs --period 2026-11 --from 2026-11-01", EXIT_USAGE,
         "not both"},
        {cmd_usage, "usage --meter jobs --from yesterday", EXIT_USAGE, "yesterday"},
        {cmd_usage, "usage --meter jobs --from 2026-11-02 --to 2026-11-01", EXIT_USAGE, "before"},
        {cmd_usage, "usage --meter jobs --subject a --customer b", EXIT_USAGE, "not both"},
        {cmd_usage, "usage --meter jobs --where {\"a\":1}", EXIT_USAGE, "line 1, column"},
        {cmd_events, "events --limit 0", EXIT_USAGE, "limit"},
        {cmd_events, "events --from yesterday", EXIT_USAGE, "no time"},
        {cmd_events, "events --format xml", EXIT_USAGE, "table, json or tsv"},
        {cmd_events, "events --after x", EXIT_FAILED, "no cursor"},
        {cmd_usage, "usage --meter jobs --zone Mars/Olympus", EXIT_FAILED, "Mars/Olympus"},
        {cmd_usage, "usage --meter jobs --filter region", EXIT_USAGE, "DIMENSION=VALUE"},
        {cmd_usage, "usage --meter jobs --format yaml", EXIT_USAGE, "table, json or tsv"},
        {cmd_usage, "usage --meter tokens --group-by colour", EXIT_FAILED, "model, region"},
        {cmd_ledger, "ledger", EXIT_USAGE, "stat|verify|dump|cut"},
        {cmd_ledger, "ledger cancel --subject zeta --id e0 --who me", EXIT_USAGE, "why"},
        {cmd_ledger, "ledger cancel --subject zeta --id no --who me --why so", EXIT_FAILED,
         "no event with id no"},
        {cmd_ledger, "ledger amend --subject zeta --id e0 --who me --why so", EXIT_USAGE,
         "a new value"},
        {cmd_ledger, "ledger amend --subject zeta --id e0 --who me --why so --value 1e40",
         EXIT_USAGE, "1e40"},
        {cmd_ledger, "ledger amend --subject zeta --id e0 --who me --why so --properties [1]",
         EXIT_USAGE, "JSON object"},
        {cmd_ledger, "ledger cut --at never", EXIT_USAGE, "never"},
        {cmd_ledger, "ledger cut --at 2200-01-01", EXIT_FAILED, "not in the future"},
        {cmd_ledger, "ledger stat --format yaml", EXIT_USAGE, "table, json or tsv"},
        {cmd_ledger, "ledger verify --format yaml", EXIT_USAGE, "text or json"},
        {cmd_ledger, "ledger dump --shard 1", EXIT_FAILED, "it has 1"},
        {cmd_ledger, "ledger dump --from never", EXIT_USAGE, "never"},
        {cmd_ledger, "ledger backup", EXIT_USAGE, "--to"},
        {cmd_ledger, "ledger restore --from /nonexistent", EXIT_FAILED, "exists"},
        {cmd_ledger, "ledger restore --from b --at-block 3", EXIT_USAGE, "0:1234"},
        {cmd_ledger, "ledger restore --from b --at-block 256:1", EXIT_USAGE, "0:1234"},
        {cmd_ledger, "ledger restore --from b --at-block 0:1x", EXIT_USAGE, "0:1234"},
        {cmd_ledger, "ledger restore --from b --at noon", EXIT_USAGE, "noon"},
        {cmd_ledger, "ledger rebuild --shard 1", EXIT_FAILED, "shards 0 to 0"},
        {cmd_ledger, "ledger resize --map-size 2M", EXIT_FAILED, "grow only"},
        {cmd_meter, "meter", EXIT_USAGE, "list|show|add|remove"},
        {cmd_meter, "meter show nothing", EXIT_FAILED, "nothing"},
        {cmd_threshold, "threshold", EXIT_USAGE, "add|list|remove|fired|quota"},
        {cmd_threshold, "threshold remove nothing", EXIT_FAILED, "nothing"},
        {cmd_threshold, "threshold add t --meter nothing --limit 1", EXIT_FAILED, "nothing"},
        {cmd_threshold, "threshold add t --meter tokens --limit 0", EXIT_USAGE, "above 0"},
        {cmd_threshold, "threshold add t --meter tokens --limit x", EXIT_USAGE, "no quantity"},
        {cmd_threshold,
         "threshold add t --meter tokens --limit 1 --period week",
         EXIT_USAGE,
         "day or month"},
        {cmd_threshold, "threshold quota nothing --subject a", EXIT_FAILED, "nothing"},
        {cmd_meter, "meter remove nothing", EXIT_FAILED, "nothing"},
        {cmd_meter, "meter add Bad --event-type llm", EXIT_USAGE, "Bad"},
        {cmd_meter, "meter add m --event-type llm --aggregation most", EXIT_USAGE, "unique_count"},
        {cmd_meter, "meter add m --event-type llm --dimension region", EXIT_USAGE, "NAME=PATH"},
        {cmd_meter, "meter add m --event-type llm --filter region", EXIT_USAGE, "PATH=VALUE"},
        {cmd_meter, "meter add m --event-type llm --filter region=", EXIT_USAGE, "255 bytes"},
    };
    // clang-format on
    struct reading reading;
    fill(&reading);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct ran ran = run(&reading, refusals[i].command, refusals[i].line);
        cr_assert_eq(ran.code, refusals[i].code, "%s: %d %s", refusals[i].line, ran.code, ran.err);
        cr_assert_not_null(strstr(ran.err, refusals[i].err), "%s: %s", refusals[i].line, ran.err);
        cr_assert_str_empty(ran.out);
    }
    reading_end(&reading);
}

Test(cmd_reading, ledger_commands_show_check_and_print)
{
    struct reading reading;
    fill(&reading);
    struct ran ran = run(&reading, cmd_ledger, "ledger verify");
    cr_assert_eq(ran.code, EXIT_OK, "%s%s", ran.out, ran.err);
    cr_assert_eq(strncmp(ran.out, "0 findings: 1 shards, ", 22), 0, "%s", ran.out);
    ran = run(&reading, cmd_ledger, "ledger verify --format json");
    cr_assert_not_null(
        strstr(ran.out, "{\"findings\":[],\"summary\":{\"shards\":1,"), "%s", ran.out);
    ran = run(&reading, cmd_ledger, "ledger stat --format json");
    cr_assert_eq(ran.code, EXIT_OK, "%s", ran.err);
    cr_assert_not_null(strstr(ran.out, "\"events\":4"), "%s", ran.out);
    cr_assert_not_null(strstr(ran.out, "\"live_from\":{\"jobs\":1,\"tokens\":1}"), "%s", ran.out);
    ran = run(&reading, cmd_ledger, "ledger stat");
    cr_assert_not_null(strstr(ran.out, "live from shard:block"), "%s", ran.out);
    cr_assert_not_null(strstr(ran.out, "made until"), "%s", ran.out);
    ran = run(&reading, cmd_ledger, "ledger stat --cells --format json");
    cr_assert_not_null(strstr(ran.out, "\"cells_by_width\":{\"quarter-hour\":"), "%s", ran.out);
    cr_assert_not_null(strstr(ran.out, "\"first_block\":{\"block\":1,"), "%s", ran.out);
    ran = run(&reading, cmd_ledger, "ledger stat --cells --format tsv");
    cr_assert_not_null(strstr(ran.out, "\n0\tquarter-hour\tUTC\t"), "%s", ran.out);
    ran = run(&reading, cmd_ledger, "ledger dump --subject acme --from 2026-11-02");
    cr_assert_eq(ran.code, EXIT_OK, "%s", ran.err);
    cr_assert_eq(strncmp(ran.out, "{\"shard\":0,", 11), 0, "%s", ran.out);
    cr_assert_not_null(strstr(ran.out, "\"value\":\"20\""), "%s", ran.out);
    cr_assert_eq(strchr(ran.out, '\n'), ran.out + strlen(ran.out) - 1, "one line");
    reading_end(&reading);
}

Test(cmd_reading, a_ledger_is_backed_up_restored_rebuilt_and_resized)
{
    struct reading reading;
    struct reading other;
    char line[256];
    fill(&reading);
    struct ran dumped = run(&reading, cmd_ledger, "ledger dump");
    (void)snprintf(line, sizeof line, "ledger backup --rate 1G --to %s/backup", reading.dir);
    struct ran ran = run(&reading, cmd_ledger, line);
    cr_assert_eq(ran.code, EXIT_OK, "%s", ran.err);
    cr_assert_eq(strncmp(ran.out, "backup 1: ", 10), 0, "%s", ran.out);
    ran = run(&reading, cmd_ledger, line);
    cr_assert_eq(strncmp(ran.out, "backup 2: 0 blocks copied, 0 bytes;", 35), 0, "%s", ran.out);
    other = reading;
    cr_assert_lt(snprintf(other.dir, sizeof other.dir, "%s/new", reading.dir), 64);
    (void)snprintf(line, sizeof line, "ledger restore --from %s/backup", reading.dir);
    ran = run(&other, cmd_ledger, line);
    cr_assert_eq(ran.code, EXIT_OK, "%s", ran.err);
    cr_assert_not_null(strstr(ran.out, " 4 entries in 1 shards"), "%s", ran.out);
    ran = run(&other, cmd_ledger, "ledger resize --map-size 1G");
    cr_assert_str_eq(ran.out, "map size 1073741824 from the next start of tallyd on\n");
    ran = run(&other, cmd_ledger, "ledger rebuild");
    cr_assert_eq(ran.code, EXIT_OK, "%s", ran.err);
    cr_assert_eq(strncmp(ran.out, "1 shards rebuilt from ", 22), 0, "%s", ran.out);
    ran = run(&other, cmd_ledger, "ledger verify");
    cr_assert_eq(strncmp(ran.out, "0 findings: 1 shards, ", 22), 0, "%s", ran.out);
    cr_assert_str_eq(run(&other, cmd_ledger, "ledger dump").out, dumped.out);
    reading_end(&reading);
}

Test(cmd_reading, a_damaged_ledger_exits_1_with_the_place)
{
    struct reading reading;
    char path[128];
    fill(&reading);
    snprintf(path, sizeof path, "%s/shards/0000/log/data.mdb", reading.dir);
    cr_assert_eq(truncate(path, 8192), 0);
    struct ran ran = run(&reading, cmd_ledger, "ledger verify");
    cr_assert_eq(ran.code, EXIT_FAILED);
    cr_assert_eq(strncmp(ran.out, "shard 0, ", 9), 0, "%s", ran.out);
    ran = run(&reading, cmd_ledger, "ledger verify --format json");
    cr_assert_eq(ran.code, EXIT_FAILED);
    cr_assert_not_null(strstr(ran.out, "{\"findings\":[{\"shard\":0,"), "%s", ran.out);
    reading_end(&reading);
}

Test(cmd_reading, thresholds_are_added_listed_and_removed)
{
    // clang-format off
    static const struct usage_line lines[] = {
        {"threshold add free --meter tokens --limit 1000", "threshold free created\n"},
        {"threshold add free --meter tokens --limit 1000", "threshold free is as it was\n"},
        {"threshold add acme --meter jobs --subject acme --period day --limit 2.5",
         "threshold acme created\n"},
        {"threshold add free --meter tokens --limit 2000", "threshold free redefined\n"},
        {"threshold list --format tsv",
         "threshold\tmeter\tsubject\tperiod\tlimit\n"
         "acme\tjobs\tacme\tday\t2.5\n"
         "free\ttokens\t\tmonth\t2000\n"},
        {"threshold fired --format tsv",
         "shard\tsequence\tthreshold\tsubject\tperiod\tvalue\tevent\n"},
        {"threshold remove acme", "threshold acme removed\n"},
    };
    // clang-format on
    struct reading reading;
    fill(&reading);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct ran ran = run(&reading, cmd_threshold, lines[i].line);
        cr_assert_eq(ran.code, EXIT_OK, "%s: %s", lines[i].line, ran.err);
        cr_assert_str_eq(ran.out, lines[i].out, "%s: %s", lines[i].line, ran.out);
    }
    reading_end(&reading);
}

Test(cmd_reading, meters_are_added_shown_and_removed)
{
    // clang-format off
    static const struct usage_line lines[] = {
        {"meter add calls --event-type llm --aggregation count --dimension region=$.region",
         "meter calls created\n"},
        {"meter add calls --event-type llm --aggregation count --dimension region=region",
         "meter calls is as it was\n"},
        {"meter add calls --event-type llm --aggregation count --dimension region=$.region --unit "
         "call", "meter calls described anew\n"},
        {"meter add calls --event-type llm --aggregation COUNT",
         "meter calls redefined: version 2\n"},
        {"meter list --format tsv",
         "meter\tevents\tof\tvalue\tdimensions\tunit\tversion\tcounted\n"
         "calls\tcount\tllm\t\t\t\t2\t0%\n"
         "jobs\tsum\tjob\t\t\t\t1\t100%\n"
         "tokens\tsum\tllm\t$.tokens\tmodel, region\t\t1\t100%\n"},
        {"meter add calls --event-type llm --aggregation count --filter region=eu --filter "
         "$.region=us", "meter calls redefined: version 3\n"},
        {"meter add calls --event-type llm --aggregation count --filter region=us --filter "
         "region=eu", "meter calls is as it was\n"},
        {"meter remove calls", "meter calls removed\n"},
    };
    // clang-format on
    struct reading reading;
    fill(&reading);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct ran ran = run(&reading, cmd_meter, lines[i].line);
        cr_assert_eq(ran.code, EXIT_OK, "%s: %s", lines[i].line, ran.err);
        cr_assert_str_eq(ran.out, lines[i].out, "%s:\n%s", lines[i].line, ran.out);
    }
    struct ran ran = run(&reading, cmd_meter, "meter show tokens");
    cr_assert_not_null(strstr(ran.out, "\"value_property\": \"$.tokens\""), "%s", ran.out);
    ran = run(&reading, cmd_meter, "meter list --format json");
    scoped(arena_done) struct arena arena = {0};
    struct json *root;
    struct error error = {0};
    cr_assert_eq(
        json_parse(bytes_text(ran.out), &(struct json_limits){0}, &arena, &root, &error),
        STATUS_OK);
    cr_assert_eq(root->count, 2);
    reading_end(&reading);
}

Test(cmd_reading, cuts_have_numbers_and_are_printed_by_dump)
{
    struct reading reading;
    fill(&reading);
    struct ran ran = run(&reading, cmd_ledger, "ledger cut --at 2026-11-01");
    cr_assert_eq(ran.code, EXIT_OK, "%s", ran.err);
    cr_assert_str_eq(ran.out, "1\n");
    ran = run(&reading, cmd_ledger, "ledger cut");
    cr_assert_str_eq(ran.out, "2\n", "%s", ran.err);
    static const char at_cut[] = "usage --meter jobs --to 2026-11-01 --format tsv --at-cut ";
    char line[128];
    (void)snprintf(line, sizeof line, "%s1", at_cut);
    ran = run(&reading, cmd_usage, line);
    cr_assert_str_eq(
        ran.out,
        "subject\tfrom\tto\tjobs\tevents\nacme\t\t2026-11-01T00:00:00Z\t5\t1\n",
        "%s%s",
        ran.out,
        ran.err);
    (void)snprintf(line, sizeof line, "%s3", at_cut);
    ran = run(&reading, cmd_usage, line);
    cr_assert_eq(ran.code, EXIT_FAILED);
    cr_assert_not_null(strstr(ran.err, "no cut 3"), "%s", ran.err);
    ran = run(&reading, cmd_usage, "usage --meter jobs --to 2026-11-02 --at-cut 1");
    cr_assert_eq(ran.code, EXIT_FAILED);
    cr_assert_not_null(strstr(ran.err, "sealed what ended until 2026-11-01"), "%s", ran.err);
    static const char since_cut[] = "usage --meter jobs --to 2026-11-01 --format tsv --since-cut 1";
    static const char head[] = "subject\tfrom\tto\tjobs\tbefore\tnow\tevents\n";
    ran = run(&reading, cmd_usage, since_cut);
    cr_assert_str_eq(ran.out, head, "%s%s", ran.out, ran.err);
    ran =
        run(&reading,
            cmd_ledger,
            "ledger amend --subject acme --id e0 --who me --why typo --value 2.5");
    cr_assert_eq(ran.code, EXIT_OK, "%s", ran.err);
    ran = run(&reading, cmd_usage, since_cut);
    cr_assert_str_eq(
        ran.out + strlen(head),
        "acme\t\t2026-11-01T00:00:00Z\t-2.5\t5\t2.5\t0\n",
        "%s%s",
        ran.out,
        ran.err);
    ran = run(&reading, cmd_ledger, "ledger cancel --subject acme --id e0 --who me --why gone");
    cr_assert_eq(ran.code, EXIT_OK, "%s", ran.err);
    ran =
        run(&reading, cmd_usage, "usage --meter jobs --to 2026-11-01 --format json --since-cut 1");
    cr_assert_not_null(
        strstr(ran.out, "\"value\":\"-5\",\"before\":\"5\",\"now\":null,\"count\":-1"),
        "%s%s",
        ran.out,
        ran.err);
    ran = run(&reading, cmd_usage, "usage --meter jobs --to 2026-11-01 --since-cut 1 --at-cut 1");
    cr_assert_eq(ran.code, EXIT_USAGE);
    ran = run(&reading, cmd_ledger, "ledger dump");
    cr_assert_not_null(
        strstr(ran.out, "\"kind\":\"cut\",\"time\":\"2026-11-01T00:00:00Z\",\"cut\":1"),
        "%s",
        ran.out);
    ran = run(&reading, cmd_ledger, "ledger verify");
    cr_assert_eq(ran.code, EXIT_OK, "%s%s", ran.out, ran.err);
    reading_end(&reading);
}

Test(cmd_reading, corrections_are_made_and_audited)
{
    struct reading reading;
    fill(&reading);
    struct ran ran =
        run(&reading,
            cmd_ledger,
            "ledger amend --subject zeta --id e3 --who me --why typo --value 2.5 --properties "
            "{\"a\":1}");
    cr_assert_eq(strncmp(ran.out, "block ", 6), 0, "%s%s", ran.out, ran.err);
    ran =
        run(&reading,
            cmd_ledger,
            "ledger amend --subject zeta --id e3 --who me --why deep --properties "
            "{\"a\":[[[[[[[[1]]]]]]]]}");
    cr_assert_eq(ran.code, EXIT_OK, "as deep as an event's may be: %s", ran.err);
    ran =
        run(&reading,
            cmd_ledger,
            "ledger amend --subject zeta --id e3 --who me --why deep --properties "
            "{\"a\":[[[[[[[[[1]]]]]]]]]}");
    cr_assert_eq(ran.code, EXIT_USAGE);
    ran = run(&reading, cmd_ledger, "ledger cancel --subject zeta --id e3 --who you --why twice");
    cr_assert_eq(ran.code, EXIT_OK, "%s", ran.err);
    ran = run(&reading, cmd_ledger, "ledger cancel --subject zeta --id e3 --who you --why twice");
    cr_assert_eq(ran.code, EXIT_FAILED);
    cr_assert_not_null(strstr(ran.err, "cancelled already: by you"), "%s", ran.err);
    ran = run(&reading, cmd_ledger, "ledger audit --subject zeta");
    const char *amend = strstr(ran.out, "\"kind\":\"amend\"");
    const char *cancel = strstr(ran.out, "\"kind\":\"cancel\"");
    cr_assert(amend != NULL && cancel != NULL && amend < cancel, "%s", ran.out);
    cr_assert_not_null(strstr(amend, "\"value\":\"2.5\",\"properties\":{\"a\":1}"), "%s", amend);
    cr_assert_not_null(strstr(amend, "\"who\":\"me\",\"why\":\"typo\""), "%s", amend);
    cr_assert_null(strstr(ran.out, "\"block\":1,\"index\":0,\"subject\""), "events are no changes");
    ran = run(&reading, cmd_ledger, "ledger verify");
    cr_assert_eq(ran.code, EXIT_OK, "%s%s", ran.out, ran.err);
    reading_end(&reading);
}
