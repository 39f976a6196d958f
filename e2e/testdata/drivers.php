<?php
// Asks each database what 6 * 7 is, in the ways by which PHP's applications name an authority: Drupal and PDO by a file
// or a directory, WordPress by nothing but the flag.
$services = json_decode(getenv('VCAP_SERVICES'));
$mysql = $services->mysql[0]->credentials;
$postgres = $services->postgres[0]->credentials;

function attempt(string $what, callable $read): void {
    try {
        echo "$what: read " . $read() . "\n";
    } catch (Throwable $e) {
        echo "$what: refused: ", $e->getMessage(), "\n";
    }
}

function pdo(string $address, object $credentials, array $options = []): string {
    $connection = new PDO($address, $credentials->username, $credentials->password, $options);
    return $connection->query('SELECT 6 * 7')->fetchColumn();
}

$address = "mysql:host=$mysql->host;port=$mysql->port;dbname=$mysql->name";
attempt('PDO with a file', fn() => pdo($address, $mysql, [PDO::MYSQL_ATTR_SSL_CA => getenv('SSL_CERT_FILE')]));
attempt('PDO with a directory', fn() => pdo($address, $mysql, [PDO::MYSQL_ATTR_SSL_CAPATH => getenv('SSL_CERT_DIR')]));
attempt("PDO with the system's", fn() => @pdo($address, $mysql, [PDO::MYSQL_ATTR_SSL_CAPATH => '/etc/ssl/certs']));
attempt('mysqli', function () use ($mysql) {
    $connection = mysqli_init();
    mysqli_real_connect($connection, $mysql->host, $mysql->username, $mysql->password, $mysql->name, $mysql->port, null,
        MYSQLI_CLIENT_SSL | MYSQLI_CLIENT_SSL_VERIFY_SERVER_CERT);
    return $connection->query('SELECT 6 * 7')->fetch_row()[0];
});
$address = "pgsql:host=$postgres->host;port=$postgres->port;dbname=$postgres->name;sslmode=verify-full";
attempt('PDO to PostgreSQL', fn() => pdo($address, $postgres));
