// mul8u_p07: approximate 8 x 8 bit unsigned multiplier, p = a w
// MAE = 1991.64, WCE = 11915
// power 0.02555 mW, area 51.87 um2, delay 0.2652 ns (gate model: 24 gates)
module mul8u_p07 (
  input  wire [7:0] a,
  input  wire [7:0] w,
  output wire [15:0] p
);
  wire n0 = a[7] & w[5];
  wire n1 = a[6] & w[6];
  wire n2 = a[7] & w[6];
  wire n3 = n0 ^ n2;
  wire n4 = w[6] & n0;
  wire n5 = a[4] & w[4];
  wire n6 = a[5] & w[7];
  wire n7 = n1 | n6;
  wire n8 = n1 & n6;
  wire n9 = n5 ^ n7;
  wire n10 = n5 & n7;
  wire n11 = n8 | n10;
  wire n12 = a[6] & w[7];
  wire n13 = n3 ^ n12;
  wire n14 = n3 & n12;
  wire n15 = n11 ^ n13;
  wire n16 = n11 & n13;
  wire n17 = n14 | n16;
  wire n18 = a[7] & w[7];
  wire n19 = n4 ^ n18;
  wire n20 = w[7] & n4;
  wire n21 = n17 ^ n19;
  wire n22 = n17 & n19;
  wire n23 = n20 | n22;
  assign p[0] = n4;
  assign p[1] = n6;
  assign p[2] = n17;
  assign p[3] = 1'b0;
  assign p[4] = w[4];
  assign p[5] = 1'b1;
  assign p[6] = w[7];
  assign p[7] = 1'b1;
  assign p[8] = 1'b1;
  assign p[9] = w[6];
  assign p[10] = a[5];
  assign p[11] = a[6];
  assign p[12] = n9;
  assign p[13] = n15;
  assign p[14] = n21;
  assign p[15] = n23;
endmodule
