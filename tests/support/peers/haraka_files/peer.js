'use strict'

// peer: what the tests want of Haraka, as a plugin: whose mail it takes, a Maildir for its own
// people, and where everybody else's mail goes. Its settings are config/peer.json, which haraka.py
// writes.

const dns = require('node:dns')
const fs = require('node:fs')
const { createRequire } = require('node:module')
const path = require('node:path')

const DSN = createRequire(process.argv[1])('haraka-dsn')

let settings

exports.register = function () {
    settings = this.config.get('peer.json')
    const outbound = this.haraka_require('outbound')
    process.on('SIGUSR2', () => outbound.flush_queue())
}

exports.hook_capabilities = (next, connection) => {
    if (!settings.pipelining) {
        connection.capabilities = connection.capabilities.filter((word) => word !== 'PIPELINING')
    }
    next()
}

exports.hook_mail = (next, connection) => {
    const submission = connection.local.port === settings.submission_port
    if (submission && !connection.notes.auth_user) return next(DENY, DSN.auth_required())
    next()
}

exports.hook_rcpt = (next, connection, [rcpt]) => {
    const users = own(rcpt)
    if (users) {
        if (!users.includes(rcpt.user)) return next(DENY, DSN.no_such_user())
        const answer = settings.answers[rcpt.address]
        if (answer) return next(...refusal(answer))
        return next(OK)
    }
    if (!connection.notes.auth_user && !(settings.next_hop && connection.remote.is_local)) {
        return next(DENY, DSN.relaying_denied())
    }
    connection.relaying = true
    next(OK)
}

exports.hook_data_post = (next, connection) => {
    if (!settings.forbidden) return next()
    connection.transaction.message_stream.get_data((data) => {
        if (!data.includes(`${settings.forbidden}"`)) return next()
        next(DENY, DSN.create(550, `Attachments of type ${settings.forbidden} are not allowed`, 7, 1))
    })
}

exports.hook_queue = deliver
exports.hook_queue_outbound = deliver

exports.hook_get_mx = (next, hmail, domain) => {
    if (domain in settings.domains) {
        return next(OK, { exchange: settings.host, port: settings.port, priority: 0 })
    }
    if (!settings.next_hop) return next(DENY, 'no way out')
    const { host, port } = settings.next_hop
    // by the hosts file, where Haraka would ask the DNS
    dns.lookup(host, { family: 4 }, (error, address) => {
        if (error) return next(DENYSOFT, error.message)
        next(OK, { exchange: address, from_dns: host, port, bind: settings.host, priority: 0 })
    })
}

// The local parts of an address's domain, if that is one of ours.
function own(address) {
    return settings.domains[address.host]
}

// "452 4.2.2 words" as Haraka wants to be told it.
function refusal(answer) {
    const [, code, subject, detail, words] = answer.match(/^(\d+) \d\.(\d+)\.(\d+) (.*)$/)
    const how = code === '421' ? DENYSOFTDISCONNECT : code.startsWith('4') ? DENYSOFT : DENY
    return [how, DSN.create(Number(code), words, Number(subject), Number(detail))]
}

// One file for each of our people; what is left goes on to the others.
function deliver(next, connection) {
    const transaction = connection.transaction
    const here = transaction.rcpt_to.filter(own)
    const others = transaction.rcpt_to.filter((rcpt) => !own(rcpt))
    transaction.message_stream.get_data((data) => {
        here.forEach((rcpt, number) => {
            const name = `${transaction.uuid}.${number}`
            const temporary = path.join(settings.maildir, 'tmp', name)
            const top = `Return-Path: ${transaction.mail_from}\nDelivered-To: ${rcpt.address}\n`
            fs.writeFileSync(temporary, Buffer.concat([Buffer.from(top), data]))
            fs.renameSync(temporary, path.join(settings.maildir, 'new', name))
        })
        transaction.rcpt_to = others
        if (others.length) return next()
        next(OK)
    })
}
