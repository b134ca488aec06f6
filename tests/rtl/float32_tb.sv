// Reads operand pairs of vectors.hex (a, b, sum, product, quotient, rounded a, from_int a; 7 words a
// line) and compares the functions of package float32.
module float32_tb;
  localparam integer MAX = 1 << 20;
  logic [31:0] words[0:7*MAX-1];
  integer i, count, wrong;

  task compare(input integer which, input logic [31:0] got, input logic [31:0] want);
    if (got !== want) begin
      wrong = wrong + 1;
      if (wrong <= 10)
        $display("operation %0d of %h, %h: %h, golden %h", which, words[7*i], words[7*i+1], got, want);
    end
  endtask

  initial begin
    $readmemh("vectors.hex", words);
    wrong = 0;
    count = 0;
    for (i = 0; i < MAX && words[7*i] !== 32'bx; i = i + 1) begin
      compare(0, float32::add(words[7*i], words[7*i+1]), words[7*i+2]);
      compare(1, float32::multiply(words[7*i], words[7*i+1]), words[7*i+3]);
      compare(2, float32::divide(words[7*i], words[7*i+1]), words[7*i+4]);
      compare(3, float32::round_to_int(words[7*i]), words[7*i+5]);
      compare(4, float32::from_int(words[7*i]), words[7*i+6]);
      count = count + 1;
    end
    if (wrong != 0) $fatal(1, "FAIL: %0d results differ", wrong);
    $display("PASS: %0d pairs", count);
    $finish;
  end
endmodule
