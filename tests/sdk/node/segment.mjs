// Makes calls with the real Segment SDK for Node: `segment.mjs HOST KEY`, JSON on standard input.
// Fails when the SDK reports an error. It knows nothing of einlass.
import { Analytics } from '@segment/analytics-node'
import { readFileSync } from 'node:fs'

const [host, writeKey] = process.argv.slice(2)
const calls = JSON.parse(readFileSync(0, 'utf8'))
const analytics = new Analytics({ host, writeKey, flushAt: 100, maxRetries: 2 })

let failed = 0
analytics.on('error', (error) => {
  failed += 1
  console.error(error.code, String(error.reason))
})
for (const { call, ...message } of calls) {
  if (message.timestamp) message.timestamp = new Date(message.timestamp)
  analytics[call](message)
}
await analytics.closeAndFlush()
process.exit(failed ? 1 : 0)
