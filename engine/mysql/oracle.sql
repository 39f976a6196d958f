INSTALL PLUGIN auth_socket SONAME 'auth_socket.so';
DROP USER IF EXISTS root@localhost;
CREATE DATABASE main CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci;
