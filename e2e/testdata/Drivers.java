import java.sql.*;

/** Asks the database at each JDBC address what 6 * 7 is, and says which driver was told so, or why it was refused. */
class Drivers {
  public static void main(String[] addresses) throws Exception {
    for (String address : addresses) {
      String kind = address.split(":")[1];
      try (Connection connection = DriverManager.getConnection(address);
          ResultSet answer = connection.createStatement().executeQuery("SELECT 6 * 7")) {
        answer.next();
        System.out.println(kind + ": read " + answer.getInt(1));
      } catch (SQLException e) {
        Throwable cause = e;
        while (cause.getCause() != null) cause = cause.getCause();
        System.out.println(kind + ": refused: " + e.getMessage() + ": " + cause.getMessage());
      }
    }
  }
}
