// Calls of @openmeter/sdk, unmodified: node calls.mjs URL KEY. Prints what each gave, as JSON.
import { OpenMeter } from '@openmeter/sdk'

const [baseUrl, apiKey] = process.argv.slice(2)
const client = new OpenMeter({ baseUrl, apiKey })
const seen = {}

// What a call threw: its class, its message, its status.
async function failure(call) {
  try {
    await call()
  } catch (error) {
    return [error.constructor.name, error.message, error.statusCode ?? error.status]
  }
  return ['nothing was thrown']
}

const meter = {
  slug: 'sdk_time', aggregation: 'SUM', eventType: 'request', valueProperty: '$.duration_ms',
  groupBy: { method: '$.method' }, name: 'SDK time', metadata: { team: 'sdk' },
}
seen.made = await client.meters.create(meter)
seen.one = await client.events.ingest({
  type: 'request', subject: 'customer-1', data: { duration_ms: 10, method: 'GET' },
}) ?? 'nothing'
seen.many = await client.events.ingest(['GET', 'POST'].map((method) => ({
  type: 'request', subject: 'customer-1', data: { duration_ms: '32.5', method },
}))) ?? 'nothing'
// A client that tries again with the same ids.
const again = {
  id: 'again', type: 'request', subject: 'customer-2', data: { duration_ms: 1, method: 'PUT' },
}
seen.again = [await client.events.ingest(again) ?? 'nothing',
  await client.events.ingest([again, again]) ?? 'nothing']
seen.changed = await client.meters.update('sdk_time', { description: 'changed' })
seen.listed = (await client.meters.list()).map((meter) => meter.slug)
seen.got = (await client.meters.get('sdk_time')).id === seen.made.id

// --- subjects and customers ---
const subjects = await client.subjects.upsert([
  { key: 'customer-1', displayName: 'One', metadata: { plan: { name: 'x' } } },
  { key: 'customer-2' },
])
seen.subjects = subjects.map(({ key, displayName, metadata }) => [key, displayName, metadata])
seen.subjectDates = subjects.every(({ createdAt }) => createdAt instanceof Date)
const [two] = await client.subjects.upsert({ key: 'customer-2', displayName: 'Two' })
seen.subject = two.displayName
seen.subjectGot = (await client.subjects.get('customer-2')).displayName
seen.subjectsListed = (await client.subjects.list()).map(({ key }) => key)
const customer = await client.customers.create({
  key: 'sdk', name: 'SDK Ltd', primaryEmail: 'sdk@example.com', currency: 'USD',
  metadata: { a: 'b' }, billingAddress: { city: 'Wien', country: 'AT' },
  usageAttribution: { subjectKeys: ['customer-1', 'customer-2'] },
})
seen.customer = { ...customer, createdAt: customer.createdAt instanceof Date, updatedAt: undefined }
seen.customerGot = (await client.customers.get(customer.id)).name
const { id, createdAt, updatedAt, ...rest } = customer
seen.customerUpdated = (await client.customers.update('sdk', { ...rest, name: 'SDK GmbH' })).name
const page = await client.customers.list({ key: 'sdk', page: 1, pageSize: 10 })
seen.customersListed = [page.totalCount, page.page, page.pageSize, page.items.map(({ key }) => key)]

// --- usage ---
const day = new Date(Date.now() - 3600e3)
const rows = await client.meters.query('sdk_time', {
  from: day, to: new Date(Date.now() + 3600e3), windowSize: 'DAY',
  windowTimeZone: 'America/Los_Angeles', subject: ['customer-1'], groupBy: ['method'],
})
seen.isDate = rows.data[0].windowStart instanceof Date && rows.from instanceof Date
const sums = {}
for (const row of rows.data) sums[row.groupBy.method] = (sums[row.groupBy.method] ?? 0) + row.value
seen.sums = sums
seen.filtered = (await client.meters.query('sdk_time', { filterGroupBy: { method: 'GET' } }))
  .data.map((row) => row.value)
seen.posted = (await client.meters.queryPost('sdk_time', { filterGroupBy: { method: ['POST'] } }))
  .data.map((row) => row.value)
seen.advanced = (await client.meters.queryPost('sdk_time', {
  advancedMeterGroupByFilters: { method: { $in: ['POST', 'PUT'] } },
})).data.map((row) => row.value)
seen.ofCustomer = (await client.meters.query('sdk_time', {
  filterCustomerId: ['sdk'], clientId: 'sdk-progress',
})).data.map((row) => [row.customerId, row.value, row.subject])
const progress = await client.info.getProgress('sdk-progress')
seen.progress = [progress.success, progress.failed, progress.total,
  progress.updatedAt instanceof Date]
seen.values = await client.meters.listGroupByValues('sdk_time', 'method')
seen.events = (await client.events.list({ subject: 'customer-1' })).map(
  ({ event, ingestedAt, customerId }) => [
    event.data.method, event.source, event.time instanceof Date, ingestedAt instanceof Date,
    customerId])
seen.eventsOfCustomer = (await client.events.list({ customerId: ['sdk'], limit: 100 })).length
const first = await client.events.listV2({ limit: 3 })
const second = await client.events.listV2({ limit: 3, cursor: first.nextCursor })
seen.pages = [first.items.length, second.items.length, second.nextCursor ?? 'last']

// --- what is refused ---
seen.errors = {
  400: await failure(() => client.meters.query('sdk_time', { windowSize: 'WEEK' })),
  event: await failure(() => client.events.ingest({ type: 'request', subject: '' })),
  404: await failure(() => client.meters.get('nothing')),
  customer: await failure(() => client.meters.query('sdk_time', { filterCustomerId: ['nobody'] })),
  409: await failure(() => client.meters.create(meter)),
  payer: await failure(() => client.customers.create({
    name: 'Other', usageAttribution: { subjectKeys: ['customer-1'] },
  })),
  conflict: await failure(() => client.events.ingest({ ...again, data: { duration_ms: 2 } })),
  401: await failure(() => new OpenMeter({ baseUrl, apiKey: 'wrong' }).meters.list()),
}

// --- what goes again ---
seen.removed = [await client.customers.delete('sdk') ?? 'nothing',
  await client.subjects.delete('customer-1') ?? 'nothing',
  await client.meters.delete('sdk_time') ?? 'nothing']
seen.left = [(await client.meters.list()).length, (await client.customers.list()).totalCount,
  (await client.subjects.list()).map(({ key }) => key)]
console.log(JSON.stringify(seen))
