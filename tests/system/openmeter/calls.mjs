// Calls of @openmeter/sdk, unmodified: node calls.mjs URL KEY. Prints what each gave, as JSON.
import { OpenMeter } from '@openmeter/sdk'

const [baseUrl, apiKey] = process.argv.slice(2)
const client = new OpenMeter({ baseUrl, apiKey })
const seen = {}

seen.made = await client.meters.create({
  slug: 'sdk_time', aggregation: 'SUM', eventType: 'request', valueProperty: '$.duration_ms',
  groupBy: { method: '$.method' },
})
seen.one = await client.events.ingest({
  type: 'request', subject: 'customer-1', data: { duration_ms: 10, method: 'GET' },
}) ?? 'nothing'
seen.many = await client.events.ingest(['GET', 'POST'].map((method) => ({
  type: 'request', subject: 'customer-1', data: { duration_ms: '32.5', method },
}))) ?? 'nothing'
seen.listed = (await client.meters.list()).map((meter) => meter.slug)
seen.got = (await client.meters.get('sdk_time')).id === seen.made.id
const day = new Date(Date.now() - 3600e3)
const rows = await client.meters.query('sdk_time', {
  from: day, to: new Date(Date.now() + 3600e3), windowSize: 'DAY',
  windowTimeZone: 'America/Los_Angeles', subject: ['customer-1'], groupBy: ['method'],
})
seen.isDate = rows.data[0].windowStart instanceof Date
const sums = {}
for (const row of rows.data) sums[row.groupBy.method] = (sums[row.groupBy.method] ?? 0) + row.value
seen.sums = sums
seen.filtered = (await client.meters.query('sdk_time', { filterGroupBy: { method: 'GET' } }))
  .data.map((row) => row.value)
seen.posted = (await client.meters.queryPost('sdk_time', { filterGroupBy: { method: ['POST'] } }))
  .data.map((row) => row.value)
seen.values = await client.meters.listGroupByValues('sdk_time', 'method')
seen.events = (await client.events.list({ subject: 'customer-1' })).map(({ event, ingestedAt }) => [
  event.data.method, event.source, event.time instanceof Date, ingestedAt instanceof Date])
try {
  await client.meters.query('sdk_time', { windowSize: 'WEEK' })
} catch (error) {
  seen.error = [error.constructor.name, error.message]
}
seen.removed = await client.meters.delete('sdk_time') ?? 'nothing'
seen.left = (await client.meters.list()).length
console.log(JSON.stringify(seen))
