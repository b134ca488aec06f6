// IEEE 754 binary32, rounded to nearest even, on bit patterns. Operands are finite and normal or
// zero; results below 2^-126 become zero, results above the largest number infinity.
package float32;

  // Rounds {24 bits, guard, round, sticky}; `exponent` is the biased one of significand[26].
  function automatic logic [31:0] pack(input logic sign, input logic signed [11:0] exponent,
                                       input logic [26:0] significand);
    logic [24:0] rounded;
    logic signed [11:0] final_exponent;
    begin
      final_exponent = exponent;
      rounded = {1'b0, significand[26:3]};
      if (significand[2] && (significand[1] || significand[0] || significand[3]))
        rounded = rounded + 25'd1;
      if (rounded[24]) begin
        rounded = rounded >> 1;
        final_exponent = final_exponent + 12'sd1;
      end
      if (significand == 27'd0 || final_exponent < 12'sd1) pack = {sign, 31'd0};
      else if (final_exponent > 12'sd254) pack = {sign, 8'hff, 23'd0};
      else pack = {sign, final_exponent[7:0], rounded[22:0]};
    end
  endfunction

  function automatic logic is_zero(input logic [7:0] exponent);
    is_zero = exponent == 8'd0;
  endfunction

  function automatic logic [31:0] from_int(input logic signed [31:0] value);
    logic [31:0] magnitude;
    logic signed [11:0] exponent;
    begin
      magnitude = value[31] ? -value : value;
      exponent = 12'sd158;
      if (magnitude != 32'd0)
        while (!magnitude[31]) begin
          magnitude = magnitude << 1;
          exponent = exponent - 12'sd1;
        end
      from_int = pack(value[31], exponent, {magnitude[31:6], |magnitude[5:0]});
    end
  endfunction

  function automatic logic [31:0] multiply(input logic [31:0] a, input logic [31:0] b);
    logic [47:0] product;
    logic signed [11:0] exponent;
    begin
      product = {24'd0, 1'b1, a[22:0]} * {24'd0, 1'b1, b[22:0]};
      exponent = $signed({4'd0, a[30:23]}) + $signed({4'd0, b[30:23]}) - 12'sd127;
      if (is_zero(a[30:23]) || is_zero(b[30:23])) multiply = {a[31] ^ b[31], 31'd0};
      else if (product[47])
        multiply = pack(a[31] ^ b[31], exponent + 12'sd1, {product[47:22], |product[21:0]});
      else multiply = pack(a[31] ^ b[31], exponent, {product[46:21], |product[20:0]});
    end
  endfunction

  // b is not zero.
  function automatic logic [31:0] divide(input logic [31:0] a, input logic [31:0] b);
    logic [50:0] numerator, denominator, quotient;
    logic signed [11:0] exponent;
    logic inexact;
    begin
      numerator = {1'b1, a[22:0], 27'd0};
      denominator = {27'd0, 1'b1, b[22:0]};
      quotient = numerator / denominator;
      inexact = quotient * denominator != numerator;
      exponent = $signed({4'd0, a[30:23]}) - $signed({4'd0, b[30:23]}) + 12'sd127;
      if (is_zero(a[30:23])) divide = {a[31] ^ b[31], 31'd0};
      else if (quotient[27])
        divide = pack(a[31] ^ b[31], exponent, {quotient[27:2], |quotient[1:0] | inexact});
      else
        divide = pack(a[31] ^ b[31], exponent - 12'sd1, {quotient[26:1], quotient[0] | inexact});
    end
  endfunction

  function automatic logic [31:0] add(input logic [31:0] a, input logic [31:0] b);
    logic [31:0] greater;
    logic [30:0] lesser;
    logic [27:0] x, y, sum;
    logic signed [11:0] exponent;
    logic [7:0] distance;
    logic sticky;
    begin
      greater = a[30:0] >= b[30:0] ? a : b;
      lesser = a[30:0] >= b[30:0] ? b[30:0] : a[30:0];
      exponent = $signed({4'd0, greater[30:23]});
      distance = greater[30:23] - lesser[30:23];
      x = {2'b01, greater[22:0], 3'd0};
      y = {2'b01, lesser[22:0], 3'd0};
      sticky = 1'b0;
      while (distance != 8'd0 && y != 28'd0) begin
        sticky = sticky | y[0];
        y = y >> 1;
        distance = distance - 8'd1;
      end
      y[0] = y[0] | sticky;
      sum = a[31] == b[31] ? x + y : x - y;
      if (is_zero(greater[30:23])) add = {a[31] & b[31], 31'd0};
      else if (is_zero(lesser[30:23])) add = greater;
      else if (sum == 28'd0) add = 32'd0;
      else if (sum[27])
        add = pack(greater[31], exponent + 12'sd1, {sum[27:2], sum[1] | sum[0]});
      else begin
        while (!sum[26]) begin
          sum = sum << 1;
          exponent = exponent - 12'sd1;
        end
        add = pack(greater[31], exponent, sum[26:0]);
      end
    end
  endfunction

  function automatic logic less(input logic [31:0] a, input logic [31:0] b);
    logic signed [32:0] x, y;
    begin
      x = a[31] ? -$signed({2'd0, a[30:0]}) : $signed({2'd0, a[30:0]});
      y = b[31] ? -$signed({2'd0, b[30:0]}) : $signed({2'd0, b[30:0]});
      less = x < y;
    end
  endfunction

  // Nearest integer, ties to even, clamped to -2^20 .. 2^20.
  function automatic logic signed [31:0] round_to_int(input logic [31:0] a);
    logic [23:0] significand, whole;
    logic [24:0] rest;
    logic [8:0] shift;
    logic signed [31:0] magnitude;
    begin
      significand = {1'b1, a[22:0]};
      if (a[30:23] < 8'd126) magnitude = 32'sd0;
      else if (a[30:23] >= 8'd147) magnitude = 32'sd1048576;
      else begin
        shift = 9'd150 - {1'b0, a[30:23]};  // 4 .. 24 bits behind the point
        whole = shift == 9'd24 ? 24'd0 : significand >> shift;
        rest = {1'b0, significand} << (9'd25 - shift);  // the point left of rest[24]
        if (rest[24] && (rest[23:0] != 24'd0 || whole[0])) whole = whole + 24'd1;
        magnitude = $signed({8'd0, whole});
      end
      round_to_int = a[31] ? -magnitude : magnitude;
    end
  endfunction

endpackage
