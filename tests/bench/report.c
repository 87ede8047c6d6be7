#include "tests/bench/report.h"

#include <time.h>

static double milliseconds(const struct histogram *histogram, double quantile)
{
    return (double)histogram_quantile(histogram, quantile) / 1e6;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static double cpu_us_each(uint64_t cpu_ns, uint64_t count)
{
    return ratio((double)cpu_ns / 1e3, (double)count);
}

static double mebibytes(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

/* Bytes that a connection added. */
static double per_connection(const struct result *result, uint64_t before, uint64_t after)
{
    return ratio((double)after - (double)before, result->counts.ready);
}

bool report_flawless(const struct result *result)
{
    const struct clients_counts *counts = &result->counts;

    return counts->ready && !counts->failed && !counts->dropped && !counts->errors &&
           !result->lost && !result->duplicated && !result->out_of_order &&
           !result->wrong_recipients;
}

/* ---- for people ---- */

static void text_connecting(FILE *file, const struct result *result)
{
    fprintf(file,
            "  connected %u in %.2f s, failed %u, dropped later %u: %.0f/s, ready after p50 %.1f "
            "ms p99 %.1f ms, server CPU %.1f us each\n",
            result->counts.ready, result->connect_s, result->counts.failed, result->counts.dropped,
            ratio((double)result->connect_latency.count, result->connect_s),
            milliseconds(&result->connect_latency, 0.5),
            milliseconds(&result->connect_latency, 0.99),
            cpu_us_each(result->connect_cpu.total_ns, result->connect_latency.count));
}

static void text_cpu(FILE *file, const struct options *options, const struct cpu_usage *cpu,
                     uint64_t count)
{
    for (unsigned i = 0; i < options->processes.count; i++)
        fprintf(file, "%s%s %.3f", i ? ", " : "", options->processes.process[i].name,
                cpu_us_each(cpu->ns[i], count));
}

static void text_messages(FILE *file, const struct options *options, const struct result *result)
{
    fprintf(file,
            "  published %.0f/s, delivered %.0f/s, latency p50 %.2f ms p99 %.2f ms p999 %.2f ms\n",
            (double)result->published / result->measured_s,
            (double)result->delivered / result->measured_s, milliseconds(&result->latency, 0.5),
            milliseconds(&result->latency, 0.99), milliseconds(&result->latency, 0.999));
    fprintf(file, "  CPU us per delivery: server %.2f (",
            cpu_us_each(result->cpu.total_ns, result->delivered));
    text_cpu(file, options, &result->cpu, result->delivered);
    fprintf(file, "), load client %.2f\n",
            ratio(result->load_cpu_s * 1e6, (double)result->delivered));
    fprintf(file,
            "  of %llu deliveries lost %llu, duplicated %llu, out of order %llu; stalls %llu, acks "
            "%llu, wrong recipients %llu, errors %llu\n",
            (unsigned long long)result->expected, (unsigned long long)result->lost,
            (unsigned long long)result->duplicated, (unsigned long long)result->out_of_order,
            (unsigned long long)result->stalls, (unsigned long long)result->counts.acks,
            (unsigned long long)result->wrong_recipients,
            (unsigned long long)result->counts.errors);
}

/* Of one core. */
static double percent(uint64_t cpu_ns, double seconds)
{
    return ratio((double)cpu_ns / 1e7, seconds);
}

static void text_percent(FILE *file, const struct options *options, const struct cpu_usage *cpu,
                         double seconds)
{
    fprintf(file, "%.2f %% (", percent(cpu->total_ns, seconds));
    for (unsigned i = 0; i < options->processes.count; i++)
        fprintf(file, "%s%s %.2f", i ? ", " : "", options->processes.process[i].name,
                percent(cpu->ns[i], seconds));
    fputs(")\n", file);
}

void report_held(FILE *file, const struct options *options, double from_s, double span_s,
                 const struct cpu_usage *cpu)
{
    fprintf(file, "  %.0f to %.0f s: CPU ", from_s, from_s + span_s);
    text_percent(file, options, cpu, span_s);
    fflush(file);
}

static void text_idle(FILE *file, const struct options *options, const struct result *result)
{
    fprintf(file, "  %.0f B RSS, %.0f B PSS per connection; CPU in %.0f s ",
            per_connection(result, result->before.rss, result->after.rss),
            per_connection(result, result->before.pss, result->after.pss), result->held_s);
    text_percent(file, options, &result->idle_cpu, result->held_s);
}

static void text_memory(FILE *file, const struct result *result)
{
    fprintf(file, "  server memory RSS %.1f -> %.1f MiB, PSS %.1f -> %.1f MiB\n",
            mebibytes(result->before.rss), mebibytes(result->after.rss),
            mebibytes(result->before.pss), mebibytes(result->after.pss));
}

void report_text(FILE *file, const struct options *options, const struct result *result)
{
    fprintf(file, "%s: %s, %u clients", options->label, options->scenario, options->clients);
    if (result->measured_s > 0)
        fprintf(file, ", %u B", options->payload_size);
    if (result->measured_s > 0 && options->rate > 0)
        fprintf(file, ", %.0f a second", options->rate);
    else if (result->measured_s > 0)
        fprintf(file, ", %u in flight", options->window);
    fprintf(file, "%s\n", report_flawless(result) ? "" : "   NOT FLAWLESS");
    text_connecting(file, result);
    if (result->measured_s > 0)
        text_messages(file, options, result);
    text_memory(file, result);
    if (result->held_s > 0)
        text_idle(file, options, result);
}

/* ---- for programs ---- */

struct json {
    FILE *file;
    const char *separator;
};

static void json_name(struct json *json, const char *name)
{
    fprintf(json->file, "%s\"%s\":", json->separator, name);
    json->separator = ",";
}

static void json_text(struct json *json, const char *name, const char *value)
{
    json_name(json, name);
    fprintf(json->file, "\"%s\"", value);
}

static void json_number(struct json *json, const char *name, double value)
{
    json_name(json, name);
    fprintf(json->file, "%.12g", value);
}

static void json_latency(struct json *json, const char *name, const struct histogram *histogram)
{
    static const struct {
        const char *name;
        double quantile;
    } quantiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
    struct json inner = {.file = json->file, .separator = ""};

    json_name(json, name);
    fputc('{', json->file);
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++)
        json_number(&inner, quantiles[i].name, milliseconds(histogram, quantiles[i].quantile));
    fputc('}', json->file);
}

static void json_cpu(struct json *json, const char *name, const struct options *options,
                     const struct cpu_usage *cpu, uint64_t count)
{
    struct json inner = {.file = json->file, .separator = ""};

    json_name(json, name);
    fputc('{', json->file);
    json_number(&inner, "server", cpu_us_each(cpu->total_ns, count));
    for (unsigned i = 0; i < options->processes.count; i++)
        json_number(&inner, options->processes.process[i].name, cpu_us_each(cpu->ns[i], count));
    fputc('}', json->file);
}

static void json_options(struct json *json, const struct options *options)
{
    json_text(json, "label", options->label);
    json_text(json, "scenario", options->scenario);
    json_text(json, "build", options->build);
    json_number(json, "time", (double)time(NULL));
    json_number(json, "gateways", options->ports.count);
    json_number(json, "clients", options->clients);
    json_number(json, "payload_size", options->payload_size);
    json_number(json, "window", options->rate > 0 ? 0 : options->window);
    json_number(json, "rate", options->rate);
    json_number(json, "with_ids", options->with_ids);
}

static void json_connecting(struct json *json, const struct options *options,
                            const struct result *result)
{
    uint64_t connected = result->connect_latency.count;

    json_number(json, "ready", result->counts.ready);
    json_number(json, "failed", result->counts.failed);
    json_number(json, "dropped", result->counts.dropped);
    json_number(json, "connect_s", result->connect_s);
    json_number(json, "connects_per_s", ratio((double)connected, result->connect_s));
    json_latency(json, "ready_ms", &result->connect_latency);
    json_cpu(json, "connect_cpu_us", options, &result->connect_cpu, connected);
}

static void json_messages(struct json *json, const struct options *options,
                          const struct result *result)
{
    json_number(json, "published_per_s", (double)result->published / result->measured_s);
    json_number(json, "delivered_per_s", (double)result->delivered / result->measured_s);
    json_latency(json, "latency_ms", &result->latency);
    json_cpu(json, "cpu_us_per_delivery", options, &result->cpu, result->delivered);
    json_number(json, "load_cpu_us_per_delivery",
                ratio(result->load_cpu_s * 1e6, (double)result->delivered));
    json_number(json, "expected", (double)result->expected);
    json_number(json, "lost", (double)result->lost);
    json_number(json, "duplicated", (double)result->duplicated);
    json_number(json, "out_of_order", (double)result->out_of_order);
    json_number(json, "stalls", (double)result->stalls);
    json_number(json, "acks", (double)result->counts.acks);
    json_number(json, "wrong_recipients", (double)result->wrong_recipients);
    json_number(json, "errors", (double)result->counts.errors);
}

static void json_memory(struct json *json, const struct result *result)
{
    json_number(json, "rss_before", (double)result->before.rss);
    json_number(json, "rss_after", (double)result->after.rss);
    json_number(json, "pss_before", (double)result->before.pss);
    json_number(json, "pss_after", (double)result->after.pss);
    if (result->held_s <= 0)
        return;
    json_number(json, "rss_per_connection",
                per_connection(result, result->before.rss, result->after.rss));
    json_number(json, "pss_per_connection",
                per_connection(result, result->before.pss, result->after.pss));
    json_number(json, "idle_cpu_percent", percent(result->idle_cpu.total_ns, result->held_s));
    json_number(json, "held_s", result->held_s);
}

void report_json(FILE *file, const struct options *options, const struct result *result)
{
    struct json json = {.file = file, .separator = ""};

    fputc('{', file);
    json_options(&json, options);
    json_connecting(&json, options, result);
    if (result->measured_s > 0)
        json_messages(&json, options, result);
    json_memory(&json, result);
    json_number(&json, "flawless", report_flawless(result));
    fputs("}\n", file);
}
