// mul8u_p04: approximate 8 x 8 bit unsigned multiplier, p = a w
// MAE = 2405.06, WCE = 15875
// power 0.01688 mW, area 32.85 um2, delay 0.2063 ns (gate model: 15 gates)
module mul8u_p04 (
  input  wire [7:0] a,
  input  wire [7:0] w,
  output wire [15:0] p
);
  wire n0 = a[7] & w[5];
  wire n1 = a[6] & w[6];
  wire n2 = n0 | n1;
  wire n3 = a[7] & w[6];
  wire n4 = n2 ^ n3;
  wire n5 = n2 & n3;
  wire n6 = a[6] & w[7];
  wire n7 = n4 ^ n6;
  wire n8 = n4 & n6;
  wire n9 = ~(a[7] & w[7]);
  wire n10 = ~(n5 ^ n9);
  wire n11 = w[7] & n5;
  wire n12 = n8 ^ n10;
  wire n13 = a[7] & n8;
  wire n14 = n11 | n13;
  assign p[0] = n3;
  assign p[1] = a[6];
  assign p[2] = 1'b1;
  assign p[3] = n6;
  assign p[4] = a[7];
  assign p[5] = n1;
  assign p[6] = w[0];
  assign p[7] = a[2];
  assign p[8] = a[0];
  assign p[9] = w[7];
  assign p[10] = w[7];
  assign p[11] = w[7];
  assign p[12] = a[5];
  assign p[13] = n7;
  assign p[14] = n12;
  assign p[15] = n14;
endmodule
