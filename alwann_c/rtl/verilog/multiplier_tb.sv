// Compares the multiplier with its product table, all 65,536 pairs. Runs in the multiplier's folder.
module multiplier_tb;
  logic [15:0] products[0:65535];
  logic [7:0] a, b;
  wire [15:0] product;
  integer pair, wrong;

  `MULTIPLIER multiplier (.A(a), .B(b), .O(product));

  initial begin
    $readmemh("products.hex", products);
    wrong = 0;
    for (pair = 0; pair < 65536; pair = pair + 1) begin
      a = pair[15:8];
      b = pair[7:0];
      #1 if (product !== products[pair]) wrong = wrong + 1;
    end
    if (wrong != 0) $fatal(1, "FAIL: %0d of 65536 products differ from the table", wrong);
    $display("PASS: 65536 products");
    $finish;
  end
endmodule
