# bash completion for danemsg. Made by scripts/manuals from the table of commands.

# Names of the identities that are on this machine.
_danemsg_names()
{
    local folder=${CRYPTO_PATH:-${DANEMSG_CRYPTO_PATH:-}} file
    if [ -z "$folder" ] && [ "${EUID:-1}" = 0 ]; then
        folder=/var/lib/danemsg/identity
    fi
    folder=${folder:-${XDG_DATA_HOME:-$HOME/.local/share}/danemsg/identity}
    for file in "$folder"/?*.key.pem "$folder"/?*.key.uri; do
        file=${file##*/}
        file=${file%.key.*}
        case $file in
        # No name has others, and compgen would expand them: $(...) in a file's name.
        *[!A-Za-z0-9._-]* | *.next | *.old | *.enc) ;;
        *) printf '%s\n' "$file" ;;
        esac
    done
}

_danemsg_words()
{
    COMPREPLY=($(compgen -W "$1" -- "$current"))
}

# $1: -f files, -d folders. A line each, since there may be spaces in them.
_danemsg_paths()
{
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen "$1" -- "$current")
}

# $1: the command. COMPREPLY for the word at the cursor.
_danemsg_command()
{
    case $1:$previous in
    'send':-m | 'send':--message | 'send':-W | 'send':--wait | 'send':--metrics | 'send':-t | 'send':--topic | 'send':--expires | 'send':--content-type | 'send':--max-message-size | 'send':-h | 'send':--host | 'send':-p | 'send':--port | 'send':-L | 'send':--url | 'send':-u | 'send':--username | 'send':-P | 'send':--pw | 'send':-i | 'send':--id | 'send':-k | 'send':--keepalive | 'send':--tls-alpn | 'send':--will-topic | 'send':--will-payload | 'send':--dns-server | 'send':--dns-stub | 'send':--serve-stale | 'send':--authority)
        :
        return
        ;;
    'send':-f | 'send':--file | 'send':--password-file | 'send':--cafile | 'send':--cert | 'send':--key | 'send':--trust-anchor | 'send':--ca-file | 'send':--resolver)
        _danemsg_paths -f
        return
        ;;
    'send':-q | 'send':--qos | 'send':--will-qos)
        _danemsg_words '0 1 2'
        return
        ;;
    'send':--state | 'send':--capath | 'send':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'send':--to | 'send':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'send':-V | 'send':--protocol-version)
        _danemsg_words '5 311'
        return
        ;;
    'send':--tls-version)
        _danemsg_words 'tlsv1.2 tlsv1.3'
        return
        ;;
    'receive':-C | 'receive':--count | 'receive':-W | 'receive':--wait | 'receive':-F | 'receive':--format | 'receive':-t | 'receive':--topic | 'receive':--allow | 'receive':--accept-poc | 'receive':--exec | 'receive':--metrics | 'receive':--group | 'receive':--max-message-size | 'receive':--store | 'receive':--retain | 'receive':--retain-size | 'receive':--pending-size | 'receive':-h | 'receive':--host | 'receive':-p | 'receive':--port | 'receive':-L | 'receive':--url | 'receive':-u | 'receive':--username | 'receive':-P | 'receive':--pw | 'receive':-i | 'receive':--id | 'receive':-k | 'receive':--keepalive | 'receive':--tls-alpn | 'receive':--will-topic | 'receive':--will-payload | 'receive':--dns-server | 'receive':--dns-stub | 'receive':--serve-stale | 'receive':--authority)
        :
        return
        ;;
    'receive':-q | 'receive':--qos)
        _danemsg_words '0 1'
        return
        ;;
    'receive':--allow-file | 'receive':--status | 'receive':--password-file | 'receive':--cafile | 'receive':--cert | 'receive':--key | 'receive':--trust-anchor | 'receive':--ca-file | 'receive':--resolver)
        _danemsg_paths -f
        return
        ;;
    'receive':--state | 'receive':--capath | 'receive':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'receive':-V | 'receive':--protocol-version)
        _danemsg_words '5 311'
        return
        ;;
    'receive':--tls-version)
        _danemsg_words 'tlsv1.2 tlsv1.3'
        return
        ;;
    'receive':--will-qos)
        _danemsg_words '0 1 2'
        return
        ;;
    'receive':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'inbox list':--store)
        :
        return
        ;;
    'inbox list':--state | 'inbox list':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'inbox list':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'inbox show':--store)
        :
        return
        ;;
    'inbox show':--state | 'inbox show':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'inbox show':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'inbox export':--store)
        :
        return
        ;;
    'inbox export':--state | 'inbox export':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'inbox export':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'inbox purge':--older | 'inbox purge':--store)
        :
        return
        ;;
    'inbox purge':--state | 'inbox purge':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'inbox purge':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'outbox list':--state | 'outbox list':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'outbox list':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'outbox flush':-W | 'outbox flush':--wait | 'outbox flush':-h | 'outbox flush':--host | 'outbox flush':-p | 'outbox flush':--port | 'outbox flush':-L | 'outbox flush':--url | 'outbox flush':-u | 'outbox flush':--username | 'outbox flush':-P | 'outbox flush':--pw | 'outbox flush':-i | 'outbox flush':--id | 'outbox flush':-k | 'outbox flush':--keepalive | 'outbox flush':--tls-alpn | 'outbox flush':--will-topic | 'outbox flush':--will-payload | 'outbox flush':--dns-server | 'outbox flush':--dns-stub | 'outbox flush':--serve-stale | 'outbox flush':--authority)
        :
        return
        ;;
    'outbox flush':--state | 'outbox flush':--capath | 'outbox flush':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'outbox flush':--password-file | 'outbox flush':--cafile | 'outbox flush':--cert | 'outbox flush':--key | 'outbox flush':--trust-anchor | 'outbox flush':--ca-file | 'outbox flush':--resolver)
        _danemsg_paths -f
        return
        ;;
    'outbox flush':-V | 'outbox flush':--protocol-version)
        _danemsg_words '5 311'
        return
        ;;
    'outbox flush':--tls-version)
        _danemsg_words 'tlsv1.2 tlsv1.3'
        return
        ;;
    'outbox flush':--will-qos)
        _danemsg_words '0 1 2'
        return
        ;;
    'outbox flush':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'outbox purge':--state | 'outbox purge':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'outbox purge':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'seal':--to | 'seal':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'seal':-t | 'seal':--topic | 'seal':--expires | 'seal':--content-type | 'seal':--max-message-size | 'seal':--dns-server | 'seal':--dns-stub | 'seal':--serve-stale | 'seal':--authority)
        :
        return
        ;;
    'seal':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'seal':--trust-anchor | 'seal':--ca-file | 'seal':--resolver)
        _danemsg_paths -f
        return
        ;;
    'open':--from | 'open':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'open':--state | 'open':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'open':--accept-poc | 'open':--max-message-size | 'open':--dns-server | 'open':--dns-stub | 'open':--serve-stale | 'open':--authority)
        :
        return
        ;;
    'open':--trust-anchor | 'open':--ca-file | 'open':--resolver)
        _danemsg_paths -f
        return
        ;;
    'sign':--to | 'sign':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'sign':-t | 'sign':--topic | 'sign':--expires | 'sign':--content-type | 'sign':--max-message-size | 'sign':--dns-server | 'sign':--dns-stub | 'sign':--serve-stale | 'sign':--authority)
        :
        return
        ;;
    'sign':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'sign':--trust-anchor | 'sign':--ca-file | 'sign':--resolver)
        _danemsg_paths -f
        return
        ;;
    'verify':--max-message-size | 'verify':--dns-server | 'verify':--dns-stub | 'verify':--serve-stale | 'verify':--authority)
        :
        return
        ;;
    'verify':--trust-anchor | 'verify':--ca-file | 'verify':--resolver)
        _danemsg_paths -f
        return
        ;;
    'encrypt':--to)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'encrypt':--max-message-size | 'encrypt':--dns-server | 'encrypt':--dns-stub | 'encrypt':--serve-stale | 'encrypt':--authority)
        :
        return
        ;;
    'encrypt':--trust-anchor | 'encrypt':--ca-file | 'encrypt':--resolver)
        _danemsg_paths -f
        return
        ;;
    'decrypt':--max-message-size)
        :
        return
        ;;
    'decrypt':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'decrypt':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'status':--store)
        :
        return
        ;;
    'status':--state | 'status':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'status':--status)
        _danemsg_paths -f
        return
        ;;
    'status':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'doctor':-W | 'doctor':--wait | 'doctor':--group | 'doctor':--max-message-size | 'doctor':--retain-size | 'doctor':--store | 'doctor':-h | 'doctor':--host | 'doctor':-p | 'doctor':--port | 'doctor':-L | 'doctor':--url | 'doctor':-u | 'doctor':--username | 'doctor':-P | 'doctor':--pw | 'doctor':-i | 'doctor':--id | 'doctor':-k | 'doctor':--keepalive | 'doctor':--tls-alpn | 'doctor':--will-topic | 'doctor':--will-payload | 'doctor':--dns-server | 'doctor':--dns-stub | 'doctor':--serve-stale | 'doctor':--authority)
        :
        return
        ;;
    'doctor':--status | 'doctor':--password-file | 'doctor':--cafile | 'doctor':--cert | 'doctor':--key | 'doctor':--trust-anchor | 'doctor':--ca-file | 'doctor':--resolver)
        _danemsg_paths -f
        return
        ;;
    'doctor':--state | 'doctor':--capath | 'doctor':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'doctor':-V | 'doctor':--protocol-version)
        _danemsg_words '5 311'
        return
        ;;
    'doctor':--tls-version)
        _danemsg_words 'tlsv1.2 tlsv1.3'
        return
        ;;
    'doctor':--will-qos)
        _danemsg_words '0 1 2'
        return
        ;;
    'doctor':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'lookup':--dns-server | 'lookup':--dns-stub | 'lookup':--serve-stale | 'lookup':--authority)
        :
        return
        ;;
    'lookup':--trust-anchor | 'lookup':--ca-file | 'lookup':--resolver)
        _danemsg_paths -f
        return
        ;;
    'certs':-o | 'certs':--output | 'certs':--trust-anchor | 'certs':--ca-file | 'certs':--resolver)
        _danemsg_paths -f
        return
        ;;
    'certs':--dns-server | 'certs':--dns-stub | 'certs':--serve-stale | 'certs':--authority)
        :
        return
        ;;
    'ca-certs':-o | 'ca-certs':--output | 'ca-certs':--trust-anchor | 'ca-certs':--ca-file | 'ca-certs':--resolver)
        _danemsg_paths -f
        return
        ;;
    'ca-certs':--dns-server | 'ca-certs':--dns-stub | 'ca-certs':--serve-stale | 'ca-certs':--authority)
        :
        return
        ;;
    'verify-cert':--name)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'verify-cert':--dns-server | 'verify-cert':--dns-stub | 'verify-cert':--serve-stale | 'verify-cert':--authority)
        :
        return
        ;;
    'verify-cert':--trust-anchor | 'verify-cert':--ca-file | 'verify-cert':--resolver)
        _danemsg_paths -f
        return
        ;;
    'identity new':--key)
        _danemsg_words 'p256 p384 p521 ed25519 rsa2048 rsa3072 rsa4096'
        return
        ;;
    'identity new':--days | 'identity new':--owner | 'identity new':--subject-country | 'identity new':--subject-state | 'identity new':--subject-locality | 'identity new':--subject-organization)
        :
        return
        ;;
    'identity new':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'identity new':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'identity import':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'identity import':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'identity tlsa':--ca)
        _danemsg_paths -f
        return
        ;;
    'identity tlsa':--ttl)
        :
        return
        ;;
    'identity tlsa':--usage)
        _danemsg_words '0 1 2 3 4'
        return
        ;;
    'identity tlsa':--selector)
        _danemsg_words '0 1'
        return
        ;;
    'identity tlsa':--matching-type)
        _danemsg_words '0 1 2'
        return
        ;;
    'identity tlsa':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'identity tlsa':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'identity publish':--rfc2136 | 'identity publish':--powerdns | 'identity publish':--ttl | 'identity publish':--wait | 'identity publish':--dns-server | 'identity publish':--dns-stub | 'identity publish':--serve-stale | 'identity publish':--authority)
        :
        return
        ;;
    'identity publish':--tsig | 'identity publish':--api-key | 'identity publish':--trust-anchor | 'identity publish':--ca-file | 'identity publish':--resolver)
        _danemsg_paths -f
        return
        ;;
    'identity publish':--usage)
        _danemsg_words '0 1 2 3 4'
        return
        ;;
    'identity publish':--selector)
        _danemsg_words '0 1'
        return
        ;;
    'identity publish':--matching-type)
        _danemsg_words '0 1 2'
        return
        ;;
    'identity publish':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'identity publish':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'identity retract':--rfc2136 | 'identity retract':--powerdns | 'identity retract':--ttl | 'identity retract':--wait | 'identity retract':--dns-server | 'identity retract':--dns-stub | 'identity retract':--serve-stale | 'identity retract':--authority)
        :
        return
        ;;
    'identity retract':--tsig | 'identity retract':--api-key | 'identity retract':--trust-anchor | 'identity retract':--ca-file | 'identity retract':--resolver)
        _danemsg_paths -f
        return
        ;;
    'identity retract':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'identity retract':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'identity rollover':--key)
        _danemsg_words 'p256 p384 p521 ed25519 rsa2048 rsa3072 rsa4096'
        return
        ;;
    'identity rollover':--days | 'identity rollover':--lifetime | 'identity rollover':--subject-country | 'identity rollover':--subject-state | 'identity rollover':--subject-locality | 'identity rollover':--subject-organization | 'identity rollover':--rfc2136 | 'identity rollover':--powerdns | 'identity rollover':--ttl | 'identity rollover':--wait | 'identity rollover':--dns-server | 'identity rollover':--dns-stub | 'identity rollover':--serve-stale | 'identity rollover':--authority)
        :
        return
        ;;
    'identity rollover':--state | 'identity rollover':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'identity rollover':--tsig | 'identity rollover':--api-key | 'identity rollover':--trust-anchor | 'identity rollover':--ca-file | 'identity rollover':--resolver)
        _danemsg_paths -f
        return
        ;;
    'identity rollover':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'identity show':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'identity show':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'identity check':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'identity check':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'identity check':--dns-server | 'identity check':--dns-stub | 'identity check':--serve-stale | 'identity check':--authority)
        :
        return
        ;;
    'identity check':--trust-anchor | 'identity check':--ca-file | 'identity check':--resolver)
        _danemsg_paths -f
        return
        ;;
    'create_selfsigned_id':--owner | 'create_selfsigned_id':--subject-country | 'create_selfsigned_id':--subject-state | 'create_selfsigned_id':--subject-locality | 'create_selfsigned_id':--subject-organization)
        :
        return
        ;;
    'create_selfsigned_id':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'create_selfsigned_id':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'create_id_csr':--owner | 'create_id_csr':--subject-country | 'create_id_csr':--subject-state | 'create_id_csr':--subject-locality | 'create_id_csr':--subject-organization)
        :
        return
        ;;
    'create_id_csr':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'create_id_csr':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'generate_tlsa':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'generate_tlsa':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'send_message':-m | 'send_message':--message | 'send_message':-W | 'send_message':--wait | 'send_message':--metrics | 'send_message':-t | 'send_message':--topic | 'send_message':--expires | 'send_message':--content-type | 'send_message':--max-message-size | 'send_message':-h | 'send_message':--host | 'send_message':-p | 'send_message':--port | 'send_message':-L | 'send_message':--url | 'send_message':-u | 'send_message':--username | 'send_message':-P | 'send_message':--pw | 'send_message':-i | 'send_message':--id | 'send_message':-k | 'send_message':--keepalive | 'send_message':--tls-alpn | 'send_message':--will-topic | 'send_message':--will-payload | 'send_message':--dns-server | 'send_message':--dns-stub | 'send_message':--serve-stale | 'send_message':--authority)
        :
        return
        ;;
    'send_message':-f | 'send_message':--file | 'send_message':--password-file | 'send_message':--cafile | 'send_message':--cert | 'send_message':--key | 'send_message':--trust-anchor | 'send_message':--ca-file | 'send_message':--resolver)
        _danemsg_paths -f
        return
        ;;
    'send_message':-q | 'send_message':--qos | 'send_message':--will-qos)
        _danemsg_words '0 1 2'
        return
        ;;
    'send_message':--state | 'send_message':--capath | 'send_message':--crypto-path)
        _danemsg_paths -d
        return
        ;;
    'send_message':--to | 'send_message':--identity)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'send_message':-V | 'send_message':--protocol-version)
        _danemsg_words '5 311'
        return
        ;;
    'send_message':--tls-version)
        _danemsg_words 'tlsv1.2 tlsv1.3'
        return
        ;;
    'dane_discovery_get_certificates':--identity_name)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'dane_discovery_get_certificates':--output_path | 'dane_discovery_get_certificates':--trust-anchor | 'dane_discovery_get_certificates':--ca-file | 'dane_discovery_get_certificates':--resolver)
        _danemsg_paths -f
        return
        ;;
    'dane_discovery_get_certificates':--dns-server | 'dane_discovery_get_certificates':--dns-stub | 'dane_discovery_get_certificates':--serve-stale | 'dane_discovery_get_certificates':--authority)
        :
        return
        ;;
    'dane_discovery_get_ca_certificates':--identity_name)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'dane_discovery_get_ca_certificates':--output_path | 'dane_discovery_get_ca_certificates':--trust-anchor | 'dane_discovery_get_ca_certificates':--ca-file | 'dane_discovery_get_ca_certificates':--resolver)
        _danemsg_paths -f
        return
        ;;
    'dane_discovery_get_ca_certificates':--dns-server | 'dane_discovery_get_ca_certificates':--dns-stub | 'dane_discovery_get_ca_certificates':--serve-stale | 'dane_discovery_get_ca_certificates':--authority)
        :
        return
        ;;
    'dane_discovery_authenticate_certificate':--certificate_path | 'dane_discovery_authenticate_certificate':--trust-anchor | 'dane_discovery_authenticate_certificate':--ca-file | 'dane_discovery_authenticate_certificate':--resolver)
        _danemsg_paths -f
        return
        ;;
    'dane_discovery_authenticate_certificate':--identity_name)
        _danemsg_words "$(_danemsg_names)"
        return
        ;;
    'dane_discovery_authenticate_certificate':--dns-server | 'dane_discovery_authenticate_certificate':--dns-stub | 'dane_discovery_authenticate_certificate':--serve-stale | 'dane_discovery_authenticate_certificate':--authority)
        :
        return
        ;;
    esac
    case $1:$current in
    'send':-*) _danemsg_words '-m --message -f --file -s --stdin-file -l --stdin-line -n --null-message -q --qos -r --retain -W --wait --json --queue --daemon --state --log-json --metrics --to -t --topic --expires --content-type --poc --max-message-size --cbc -h --host -p --port -L --url -u --username -P --pw --password-file -i --id -k --keepalive -V --protocol-version --tls --tls-use-os-certs --cafile --capath --broker-dane --cert --key --identity-cert --tls-version --tls-alpn --will-topic --will-payload --will-qos --will-retain -d --debug --identity --crypto-path --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'send':*)
        _danemsg_words "$(_danemsg_names)"
        ;;
    'receive':-*) _danemsg_words '-C --count -W --wait -F --format -N --no-newline -v --verbose --json --pretty -t --topic -q --qos --allow --allow-file --accept-poc --exec --metrics --status --log-json --group --clean --max-message-size --state --store --retain --retain-size --pending-size -h --host -p --port -L --url -u --username -P --pw --password-file -i --id -k --keepalive -V --protocol-version --tls --tls-use-os-certs --cafile --capath --broker-dane --cert --key --identity-cert --tls-version --tls-alpn --will-topic --will-payload --will-qos --will-retain -d --debug --identity --crypto-path --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'receive':*)
        :
        ;;
    'inbox list':-*) _danemsg_words '--json --undelivered --store --state --identity --crypto-path --help --help-all' ;;
    'inbox list':*)
        :
        ;;
    'inbox show':-*) _danemsg_words '-N --raw --json --store --state --identity --crypto-path --help --help-all' ;;
    'inbox show':*)
        :
        ;;
    'inbox export':-*) _danemsg_words '--undelivered --store --state --identity --crypto-path --help --help-all' ;;
    'inbox export':*)
        :
        ;;
    'inbox purge':-*) _danemsg_words '--older --all --failed --force --store --state --identity --crypto-path --help --help-all' ;;
    'inbox purge':*)
        :
        ;;
    'outbox list':-*) _danemsg_words '--json --state --identity --crypto-path --help --help-all' ;;
    'outbox list':*)
        :
        ;;
    'outbox flush':-*) _danemsg_words '-W --wait --state -h --host -p --port -L --url -u --username -P --pw --password-file -i --id -k --keepalive -V --protocol-version --tls --tls-use-os-certs --cafile --capath --broker-dane --cert --key --identity-cert --tls-version --tls-alpn --will-topic --will-payload --will-qos --will-retain -d --debug --identity --crypto-path --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'outbox flush':*)
        :
        ;;
    'outbox purge':-*) _danemsg_words '--expired --all --force --state --identity --crypto-path --help --help-all' ;;
    'outbox purge':*)
        :
        ;;
    'seal':-*) _danemsg_words '--to -t --topic --expires --content-type --poc --max-message-size --cbc --identity --crypto-path --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'seal':*)
        _danemsg_paths -f
        ;;
    'open':-*) _danemsg_words '--from --state --accept-poc --max-message-size --json --identity --crypto-path --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'open':*)
        _danemsg_paths -f
        ;;
    'sign':-*) _danemsg_words '--to -t --topic --expires --content-type --poc --max-message-size --identity --crypto-path --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'sign':*)
        _danemsg_paths -f
        ;;
    'verify':-*) _danemsg_words '--max-message-size --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'verify':*)
        _danemsg_paths -f
        ;;
    'encrypt':-*) _danemsg_words '--to --poc --max-message-size --cbc --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'encrypt':*)
        _danemsg_paths -f
        ;;
    'decrypt':-*) _danemsg_words '--max-message-size --identity --crypto-path --help --help-all' ;;
    'decrypt':*)
        _danemsg_paths -f
        ;;
    'status':-*) _danemsg_words '--json --store --state --status --identity --crypto-path --help --help-all' ;;
    'status':*)
        :
        ;;
    'doctor':-*) _danemsg_words '--json -q --quiet -W --wait --group --max-message-size --retain-size --status --state --store -h --host -p --port -L --url -u --username -P --pw --password-file -i --id -k --keepalive -V --protocol-version --tls --tls-use-os-certs --cafile --capath --broker-dane --cert --key --identity-cert --tls-version --tls-alpn --will-topic --will-payload --will-qos --will-retain -d --debug --identity --crypto-path --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'doctor':*)
        _danemsg_words "$(_danemsg_names)"
        ;;
    'inspect':-*) _danemsg_words '--json --help --help-all' ;;
    'inspect':*)
        _danemsg_paths -f
        ;;
    'lookup':-*) _danemsg_words '--json --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'lookup':*)
        _danemsg_words "$(_danemsg_names)"
        ;;
    'certs':-*) _danemsg_words '--dane-ee --pkix-ee -o --output --separate --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'certs':*)
        _danemsg_words "$(_danemsg_names)"
        ;;
    'ca-certs':-*) _danemsg_words '-o --output --separate --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'ca-certs':*)
        _danemsg_words "$(_danemsg_names)"
        ;;
    'verify-cert':-*) _danemsg_words '--name --quiet --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'verify-cert':*)
        _danemsg_paths -f
        ;;
    'identity new':-*) _danemsg_words '--key --days --csr --force --owner --identity --crypto-path --subject-country --subject-state --subject-locality --subject-organization --help --help-all' ;;
    'identity new':*)
        _danemsg_words "$(_danemsg_names)"
        ;;
    'identity import':-*) _danemsg_words '--identity --crypto-path --help --help-all' ;;
    'identity import':*)
        _danemsg_paths -f
        ;;
    'identity tlsa':-*) _danemsg_words '--zone-line --fields --ca --ttl --usage --selector --matching-type --identity --crypto-path --help --help-all' ;;
    'identity tlsa':*)
        _danemsg_words "$(_danemsg_names)"
        ;;
    'identity publish':-*) _danemsg_words '--rfc2136 --tsig --powerdns --api-key --ttl --replace --wait --usage --selector --matching-type --identity --crypto-path --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'identity publish':*)
        _danemsg_words "$(_danemsg_names)"
        ;;
    'identity retract':-*) _danemsg_words '--rfc2136 --tsig --powerdns --api-key --ttl --replace --wait --identity --crypto-path --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'identity retract':*)
        _danemsg_words "$(_danemsg_names)"
        ;;
    'identity rollover':-*) _danemsg_words '--key --days --csr --single-record --now --lifetime --json --state --subject-country --subject-state --subject-locality --subject-organization --rfc2136 --tsig --powerdns --api-key --ttl --replace --wait --identity --crypto-path --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'identity rollover':*)
        _danemsg_words 'start switch finish abort status'
        ;;
    'identity show':-*) _danemsg_words '--json --identity --crypto-path --help --help-all' ;;
    'identity show':*)
        _danemsg_words "$(_danemsg_names)"
        ;;
    'identity check':-*) _danemsg_words '--json --identity --crypto-path --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'identity check':*)
        _danemsg_words "$(_danemsg_names)"
        ;;
    'create_selfsigned_id':-*) _danemsg_words '--force --owner --identity --crypto-path --subject-country --subject-state --subject-locality --subject-organization --help --help-all' ;;
    'create_selfsigned_id':*)
        :
        ;;
    'create_id_csr':-*) _danemsg_words '--force --owner --identity --crypto-path --subject-country --subject-state --subject-locality --subject-organization --help --help-all' ;;
    'create_id_csr':*)
        :
        ;;
    'generate_tlsa':-*) _danemsg_words '--identity --crypto-path --help --help-all' ;;
    'generate_tlsa':*)
        :
        ;;
    'send_message':-*) _danemsg_words '-m --message -f --file -s --stdin-file -l --stdin-line -n --null-message -q --qos -r --retain -W --wait --json --queue --daemon --state --log-json --metrics --to -t --topic --expires --content-type --poc --max-message-size --cbc -h --host -p --port -L --url -u --username -P --pw --password-file -i --id -k --keepalive -V --protocol-version --tls --tls-use-os-certs --cafile --capath --broker-dane --cert --key --identity-cert --tls-version --tls-alpn --will-topic --will-payload --will-qos --will-retain -d --debug --identity --crypto-path --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'send_message':*)
        _danemsg_words "$(_danemsg_names)"
        ;;
    'dane_discovery_get_certificates':-*) _danemsg_words '--dane_ee --pkix_ee --pkix_cd --identity_name --output_path --separate_files --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'dane_discovery_get_certificates':*)
        :
        ;;
    'dane_discovery_get_ca_certificates':-*) _danemsg_words '--identity_name --output_path --separate_files --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'dane_discovery_get_ca_certificates':*)
        :
        ;;
    'dane_discovery_authenticate_certificate':-*) _danemsg_words '--certificate_path --identity_name --silent --dns-server --dns-stub --trust-anchor --serve-stale --ca-file --pkix-cd --authority --resolver --help --help-all' ;;
    'dane_discovery_authenticate_certificate':*)
        :
        ;;
    esac
}

_danemsg()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]-} IFS=$' \t\n'
    COMPREPLY=()
    # --option=value is three words here.
    [ "$current" != = ] || current=
    [ "$previous" != = ] || previous=${COMP_WORDS[COMP_CWORD - 2]}
    if [ "${1##*/}" != danemsg ]; then
        command=${1##*/}
        _danemsg_command "${command%.py}"
        return
    fi
    if [ "$COMP_CWORD" -eq 1 ]; then
        _danemsg_words 'send receive inbox outbox seal open sign verify encrypt decrypt status doctor inspect lookup certs ca-certs verify-cert identity --help --version'
        return
    fi
    case $command in
    inbox)
        if [ "$COMP_CWORD" -eq 2 ]; then
            _danemsg_words 'list show export purge --help'
            return
        fi
        command="$command ${COMP_WORDS[2]}"
        ;;
    outbox)
        if [ "$COMP_CWORD" -eq 2 ]; then
            _danemsg_words 'list flush purge --help'
            return
        fi
        command="$command ${COMP_WORDS[2]}"
        ;;
    identity)
        if [ "$COMP_CWORD" -eq 2 ]; then
            _danemsg_words 'new import tlsa publish retract rollover show check --help'
            return
        fi
        command="$command ${COMP_WORDS[2]}"
        ;;
    esac
    _danemsg_command "$command"
}

complete -F _danemsg danemsg
complete -F _danemsg create_selfsigned_id create_selfsigned_id.py
complete -F _danemsg create_id_csr create_id_csr.py
complete -F _danemsg generate_tlsa generate_tlsa.py
complete -F _danemsg send_message send_message.py
complete -F _danemsg dane_discovery_get_certificates dane_discovery_get_certificates.py
complete -F _danemsg dane_discovery_get_ca_certificates dane_discovery_get_ca_certificates.py
complete -F _danemsg dane_discovery_authenticate_certificate dane_discovery_authenticate_certificate.py
