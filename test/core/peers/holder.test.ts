// Who is charged for what: a user cannot split into several holders, and system units do not share one.

import test from 'ava'
import { holderOf } from '../../../src/core/peers/holder.ts'
import { parseUserSlice } from '../../../src/core/peers/peer.ts'

const peer = { pid: 1, uid: 1000, gid: 1000, groups: [] }

test('all login sessions and subordinate uids of one user are one holder', t => {
  const sessions = [
    { ...peer, unit: 'session-3.scope', userSlice: 1000 },
    { ...peer, unit: 'user@1000.service', userSlice: 1000 },
    { ...peer, uid: 165_537, unit: 'session-4.scope', userSlice: 1000 },
  ]
  t.deepEqual([...new Set(sessions.map(one => holderOf(one).name))], ['user 1000'])
  t.is(holderOf(sessions[2] ?? peer).uid, 1000)
})

test('elsewhere the holder is uid and outermost unit, and units of one uid share a second limit but for those of uid 0', t => {
  t.deepEqual(holderOf({ ...peer, uid: 33, unit: 'apache2.service' }), { name: 'uid 33 in apache2.service', uid: 33 })
  t.deepEqual(holderOf({ ...peer, uid: 0, unit: 'cron.service' }), { name: 'uid 0 in cron.service' })
  t.deepEqual(holderOf({ ...peer, uid: 0, unit: 'session-1.scope', userSlice: 0 }), { name: 'user 0' })
  t.deepEqual(holderOf(peer), { name: 'uid 1000', uid: 1000 })
  t.is(holderOf(peer), holderOf(peer), 'reckoned once for a peer')
  t.deepEqual(holderOf({ ...peer, uid: 0 }), { name: 'uid 0' })
})

test('the slice of a user counts only where the system manager made it', t => {
  t.is(parseUserSlice('0::/user.slice/user-1000.slice/session-3.scope\n'), 1000)
  t.is(parseUserSlice('12:cpu:/x\n1:name=systemd:/user.slice/user-7.slice/user@7.service/app.slice/a.service\n'), 7)
  t.is(parseUserSlice('0::/system.slice/user-1000.slice/x.service\n'), undefined)
  t.is(parseUserSlice('0::/system.slice/a.service/user.slice/user-5.slice\n'), undefined)
  t.is(parseUserSlice('0::/user.slice/user-99999999999.slice/x\n'), undefined)
  t.is(parseUserSlice(''), undefined)
})
