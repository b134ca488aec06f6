// mul8u_p04: approximate 8 x 8 bit unsigned multiplier, O = A B
// MAE = 2405.06, WCE = 15875
// power 0.01688 mW, area 32.85 um2, delay 0.2063 ns (gate model: 15 gates)
module mul8u_p04 (input [7:0] A, input [7:0] B, output [15:0] O);
  wire g0 = A[7] & B[5];
  wire g1 = A[6] & B[6];
  wire g2 = g0 | g1;
  wire g3 = A[7] & B[6];
  wire g4 = g2 ^ g3;
  wire g5 = g2 & g3;
  wire g6 = A[6] & B[7];
  wire g7 = g4 ^ g6;
  wire g8 = g4 & g6;
  wire g9 = ~(A[7] & B[7]);
  wire g10 = ~(g5 ^ g9);
  wire g11 = B[7] & g5;
  wire g12 = g8 ^ g10;
  wire g13 = A[7] & g8;
  wire g14 = g11 | g13;
  assign O = {g14, g12, g7, A[5], B[7], B[7], B[7], A[0], A[2], B[0], g1, A[7], g6, 1'b1, A[6], g3};
endmodule
