FLUSH PRIVILEGES;
DROP USER IF EXISTS root@localhost;
DROP USER IF EXISTS mysql@localhost;
CREATE DATABASE main CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
DELETE FROM mysql.proxies_priv;
